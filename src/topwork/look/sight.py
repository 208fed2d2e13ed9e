"""A network as `look` and `explain` ask it: what its stages see, why it answers as it does, its gradients. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.errors import InputError
from topwork.features.engines import openvino
from topwork.frozen.running import GradientGraph
from topwork.look.pixels import Attribution, Slopes
from topwork.zoo.spec import BackboneSpec

Maps = NDArray[np.float32]
"""(C, h, w)."""

Ask = Callable[..., dict[str, Maps]]
"""What a network says, by name, of what it is given."""


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
    layer: str | None
    """The layer that Grad-CAM looks at; None where no layer with maps decides the answer."""
    ask: Ask

    def logits(self, image: Maps, second: Maps) -> Maps:
        """Logits (K,) of an image and its second look, (3, H, W) each."""
        found: Maps = self._asked(image, second, np.zeros(len(self.classes), np.float32))["logits"][0]
        return found

    def gradcam(self, image: Maps, linear: Maps) -> Attribution:
        """Grad-CAM's map of an image (3, H, W) for the answer sum(linear * logits), linear (K,).

        A head that wants two looks has seen the mirror image, too: its map is turned back. Raises InputError without a layer.
        """
        if self.layer is None:
            raise InputError(
                f"{self.spec.id}: no layer with maps decides its answer. Name one with --layer, or take --method ig."
            )
        found = self._asked(image, image[:, :, ::-1], linear)
        coarse = found["first"][0, 0]
        if "second" in found:
            coarse = (coarse + found["second"][0, 0, :, ::-1]) / 2
        return Attribution(enlarged(coarse, image.shape[1:]), "gradcam", self.layer)

    def _asked(self, image: Maps, second: Maps, linear: Maps) -> dict[str, Maps]:
        looks = (image[None], second[None]) if self.mirrored else (image[None],)
        return self.ask(*looks, linear[None])


def slopes_by(source: Any, _told: Mapping[str, Any]) -> Slopes:
    """Asks a graph of gradients, in a file or as OpenVINO's model, in float32."""
    graph = GradientGraph(source, "f32")

    def gradient(images: Maps, linear: Maps) -> Maps:
        count = len(images)
        return graph(images, np.broadcast_to(linear, (count, len(linear))), np.zeros((count, 1), np.float32))[1]

    return Slopes(graph.logits, gradient)


def asked_by(source: Any, told: Mapping[str, Any]) -> Ask:
    """Asks the graph in a file, or an OpenVINO model, in float32; the `answers` that are told name its outputs."""
    core = openvino().Core()
    model = core.read_model(source) if isinstance(source, Path) else source
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})

    def ask(*given: Maps) -> dict[str, Maps]:
        found = compiled([np.ascontiguousarray(one, np.float32) for one in given])
        return {name: np.array(found[place]) for place, name in enumerate(told["answers"])}

    return ask


def enlarged(coarse: Maps, size: tuple[int, ...]) -> Maps:
    """A map (h, w) brought to `size` (H, W), bilinearly between the middles of its places."""
    image = Image.fromarray(np.ascontiguousarray(coarse, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)
