"""A network as `look` and `explain` ask it: what its stages see, and why it answers as it does.

Each of the two is written down once as a graph, kept, and run by OpenVINO: from then on neither torch nor the network's own
library is imported, which takes longer than all the rest. Where an operation has no counterpart there, torch runs the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.classifier import Classifier
from topwork.errors import StorageError
from topwork.features.engines import openvino, usable
from topwork.frozen.keeping import GRAPH, keep, kept_folder, told_with
from topwork.zoo import identity
from topwork.zoo.spec import BackboneSpec

if TYPE_CHECKING:
    from topwork.look.traced import Traced

Maps = NDArray[np.float32]
"""(C, h, w)."""

Ask = Callable[..., dict[str, Maps]]
"""What a network says, by name, of what it is given."""


@dataclass(frozen=True)
class Attribution:
    """How much each pixel speaks for an answer."""

    values: NDArray[np.float32]
    """(H, W); below 0 it speaks against (ig and occlusion)."""
    method: str
    layer: str | None
    """Of gradcam: the layer whose maps were weighed."""
    change: float | None = None
    """Of ig: the answer less that for grey."""
    error: float | None = None
    """Of ig: how far the sum of the map is from `change`, as a share of it."""


@dataclass(frozen=True, eq=False)
class Stages:
    """What the stages of a backbone see."""

    spec: BackboneSpec
    names: tuple[str, ...]
    """Of the stages that are shown; empty where none has maps."""
    filters: list[Maps]
    """The first layer's, (h, w, 3) each, in [0, 1]."""
    ask: Ask

    def maps(self, image: Maps) -> dict[str, Maps]:
        """Maps (C, h, w) of each stage for an image (3, H, W) in [0, 1]."""
        return {name: found[0] for name, found in self.ask(image[None]).items()}


@dataclass(frozen=True, eq=False)
class Reasons:
    """Why a network answers as it does: its logits, and Grad-CAM's map for any of them."""

    spec: BackboneSpec
    classes: tuple[str, ...]
    """In the order of the logits."""
    mirrored: bool
    """Whether its head wants two looks at a picture."""
    layer: str
    """The layer that Grad-CAM looks at."""
    ask: Ask

    def logits(self, image: Maps, second: Maps) -> Maps:
        """Logits (K,) of an image and its second look, (3, H, W) each."""
        found: Maps = self._asked(image, second, np.zeros(len(self.classes), np.float32))["logits"][0]
        return found

    def gradcam(self, image: Maps, linear: Maps) -> Attribution:
        """Grad-CAM's map of an image (3, H, W) for the answer sum(linear * logits), linear (K,).

        A head that wants two looks has seen the mirror image, too: its map is turned back.
        """
        found = self._asked(image, image[:, :, ::-1], linear)
        coarse = found["first"][0, 0]
        if self.mirrored:
            coarse = (coarse + found["second"][0, 0, :, ::-1]) / 2
        return Attribution(enlarged(coarse, image.shape[1:]), "gradcam", self.layer)

    def _asked(self, image: Maps, second: Maps, linear: Maps) -> dict[str, Maps]:
        looks = (image[None], second[None]) if self.mirrored else (image[None],)
        return self.ask(*looks, linear[None])


def open_stages(source: str | Classifier, weights: str = "pretrained") -> Stages:
    """The stages of a backbone by its name, or of a classifier's. Imports torch only where no graph is kept.

    Raises BundleError, UnknownName or WeightsError.
    """

    def make() -> Traced:
        from topwork.look.maps import opened
        from topwork.look.traced import traced_stages

        return traced_stages(opened(source, weights))

    known = {"backbone": source.spec.fingerprint} if isinstance(source, Classifier) else identity(source, weights)
    told, ask = _opened({"kind": "stages", **known}, make)
    filters = [np.array(one, np.float32) for one in told["filters"]]
    return Stages(BackboneSpec.from_config(told["spec"]), tuple(told["answers"]), filters, ask)


def open_reasons(source: str | Classifier, weights: str = "pretrained") -> Reasons:
    """The reasons of a classifier, or of a backbone by its name with its original classes. As `open_stages`.

    Raises InputError, too: for a backbone without classes, and where no layer with maps decides the answer.
    """

    def make() -> Traced:
        from topwork.look.judges import network_of
        from topwork.look.traced import traced_reasons

        return traced_reasons(network_of(source, weights))

    known = _classifier_facts(source) if isinstance(source, Classifier) else identity(source, weights)
    told, ask = _opened({"kind": "reasons", **known}, make)
    spec = BackboneSpec.from_config(told["spec"])
    return Reasons(spec, tuple(told["classes"]), "second" in told["answers"], str(told["layer"]), ask)


def _opened(known: Mapping[str, str], make: Callable[[], Traced]) -> tuple[Mapping[str, Any], Ask]:
    """(what is told of a network, how it is asked): of the graph that is kept for what is known of it, else made now."""
    folder = None
    if usable("openvino"):
        with contextlib.suppress(StorageError):  # then it is made each time
            folder = kept_folder("sights", known)
            if told := told_with(folder):
                return told, asked_by(folder / GRAPH, told["answers"])
    traced = make()
    if traced.model is not None and folder is not None:
        with contextlib.suppress(StorageError):
            keep(folder, traced.model, 2 * 4 * traced.told["spec"]["parameters"], traced.told)
    return traced.told, traced.ask


def _classifier_facts(classifier: Classifier) -> dict[str, str]:
    digest = hashlib.sha256(json.dumps(classifier.head.to_config(), sort_keys=True).encode())
    for name, tensor in sorted(classifier.head.to_tensors().items()):
        digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode() + np.ascontiguousarray(tensor).tobytes())
    return {"backbone": classifier.spec.fingerprint, "head": digest.hexdigest(), "classes": json.dumps(classifier.classes)}


def asked_by(source: Any, answers: list[str]) -> Ask:
    """Asks the graph in a file, or an OpenVINO model, in float32; `answers` names its outputs."""
    core = openvino().Core()
    model = core.read_model(source) if isinstance(source, Path) else source
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})

    def ask(*given: Maps) -> dict[str, Maps]:
        found = compiled([np.ascontiguousarray(one, np.float32) for one in given])
        return {name: np.array(found[place]) for place, name in enumerate(answers)}

    return ask


def enlarged(coarse: Maps, size: tuple[int, ...]) -> Maps:
    """A map (h, w) brought to `size` (H, W), bilinearly between the middles of its places."""
    image = Image.fromarray(np.ascontiguousarray(coarse, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)
