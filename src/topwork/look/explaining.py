"""From a picture's file to a figure of which of its pixels made the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topwork.classifier import Classifier
from topwork.errors import InputError
from topwork.heads.metrics import softmax
from topwork.heads.neighbours import NeighbourHead
from topwork.look.naming import class_named
from topwork.look.opening import open_reasons, open_slopes
from topwork.look.pixels import Attribution, attributed, box_mean, faithfulness
from topwork.look.seeing import Seen, check_picture, check_png, classifier_at, see
from topwork.look.sheets import FAINT, heading, new_figure, percent, save_figure, show
from topwork.pictures.decode import Geometry

Numbers = NDArray[np.float32]


class Explainer(Protocol):
    """A network that tells why."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of its logits."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Of the pictures that it sees."""
        ...

    def probs(self, seen: Seen) -> Numbers:
        """Probabilities (K,) of a picture."""
        ...

    def why(self, seen: Seen, linear: Numbers) -> Attribution:
        """The map for the answer sum(linear * logits), linear (K,)."""
        ...


class BySight:
    """Any method, without torch."""

    def __init__(self, source: str | Classifier, weights: str, method: str) -> None:
        self._source, self._weights, self._method = source, weights, method
        self._reasons = open_reasons(source, weights)
        self.classes, self.geometry = self._reasons.classes, self._reasons.spec.geometry

    def probs(self, seen: Seen) -> Numbers:
        """See Explainer."""
        found: Numbers = softmax(self._reasons.logits(seen.image, seen.second)[None])[0]
        return found

    def why(self, seen: Seen, linear: Numbers) -> Attribution:
        """See Explainer."""
        if self._method == "gradcam":
            return self._reasons.gradcam(seen.image, linear)
        # Of neighbours the nearest alone change at once: there is nothing to integrate.
        voting = isinstance(self._source, Classifier) and isinstance(self._source.head, NeighbourHead)
        slopes = open_slopes(self._source, self._weights, every_vote=voting and self._method == "ig")
        return attributed(slopes, seen.image, linear, self._method)


class ByTorch:
    """Grad-CAM at a layer that is named."""

    def __init__(self, source: str | Classifier, weights: str, layer: str) -> None:
        from topwork.look.judges import network_of

        self._network, self._layer = network_of(source, weights), layer
        self.classes, self.geometry = self._network.classes, self._network.spec.geometry

    def probs(self, seen: Seen) -> Numbers:
        """See Explainer."""
        import torch

        with torch.inference_mode():
            found: Numbers = self._network.probs(*(torch.from_numpy(one)[None] for one in (seen.image, seen.second)))[0].numpy()
        return found

    def why(self, seen: Seen, linear: Numbers) -> Attribution:
        """See Explainer."""
        import torch

        from topwork.look.attribution import gradcam

        return gradcam(self._network, torch.from_numpy(seen.image)[None], torch.from_numpy(linear), self._layer)


def explained(
    source: str,
    picture: str,
    out: Path,
    method: str = "gradcam",
    wanted: str | None = None,
    against: str | None = None,
    layer: str | None = None,
    check: bool = False,
    weights: str = "pretrained",
) -> dict[str, Any]:
    """Draw which pixels made the answer, for the predicted class or `wanted`, or for it rather than `against`.

    check: also tell whether taking the most telling pixels away, or showing them first, moves the answer more than pixels
    drawn at random do. Raises TopworkError.
    """
    if layer is not None and method != "gradcam":
        raise InputError(f"--layer: only gradcam looks at a layer, not {method}. Leave it out.")
    check_png(out, picture)
    check_picture(picture)
    classifier = classifier_at(source)
    asked = classifier or source
    network: Explainer = BySight(asked, weights, method) if layer is None else ByTorch(asked, weights, layer)
    seen = see(picture, network.geometry)
    probs = network.probs(seen)
    target = int(probs.argmax()) if wanted is None else class_named(wanted, network.classes)
    linear = np.zeros(len(network.classes), np.float32)
    linear[target] = 1
    other = None
    if against is not None:
        other = class_named(against, network.classes)
        if other == target:
            raise InputError(f"--against {against}: this is the class itself. Name another one.")
        linear[other] = -1
    found = network.why(seen, linear)
    document: dict[str, Any] = {
        "network": source,
        "picture": picture,
        "out": str(out),
        "method": method,
        "class": network.classes[target],
        "probability": float(probs[target]),
        "against": None if other is None else network.classes[other],
        "answer": network.classes[int(probs.argmax())],
        "none_of_these": None if classifier is None else classifier.predict([picture])[0].none_of_these,
        "layer": found.layer,
        "completeness_error": found.error,
    }
    if check:
        document |= _checked(asked, weights, seen, found, target)
    save_figure(_overlay(seen, found, document), out)
    return document


def _checked(source: str | Classifier, weights: str, seen: Seen, found: Attribution, target: int) -> dict[str, float]:
    slopes = open_slopes(source, weights)

    def probability(images: Numbers) -> Numbers:
        of_class: Numbers = softmax(slopes.logits(images))[:, target]
        return of_class

    deletion, insertion = faithfulness(probability, seen.image, found.values)
    drawn = np.random.default_rng(0).permutation(found.values.size).reshape(found.values.shape).astype(np.float32)
    random_deletion, random_insertion = faithfulness(probability, seen.image, drawn)
    return {
        "deletion": deletion,
        "deletion_random": random_deletion,
        "insertion": insertion,
        "insertion_random": random_insertion,
    }


def _overlay(seen: Seen, found: Attribution, document: dict[str, Any]) -> Any:
    """The picture, and the map over a paler copy of it with its scale."""
    against = document["against"]
    title = f"Why {document['class']} ({percent(document['probability'])})" + (f" rather than {against}" if against else "")
    wide, height, side = 8.0, 4.4, 3.45
    figure = new_figure(wide, height)
    heading(figure, title, height)
    boxes = [(left / wide, 0.4 / height, side / wide, side / height) for left in (0.2, 0.2 + side + 0.15)]
    show(figure.add_axes(boxes[0]), seen.pixels)
    axes = figure.add_axes(boxes[1])
    grey = seen.pixels.mean(2) / 255
    show(axes, 0.55 + 0.45 * np.repeat(grey[..., None], 3, 2))
    signed = float(found.values.min()) < 0
    values = _softened(found)
    scaled = values / (float(np.percentile(np.abs(values), 99.5)) or 1.0)
    strength = np.clip(np.abs(scaled), 0, 1)
    drawn = axes.imshow(
        scaled, cmap="RdBu_r" if signed else "inferno", vmin=-1 if signed else 0, vmax=1, alpha=0.15 + 0.7 * strength
    )
    bar = figure.colorbar(drawn, cax=figure.add_axes(((0.2 + 2 * side + 0.3) / wide, 0.4 / height, 0.13 / wide, side / height)))
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.set_ticks([-1, 0, 1] if signed else [0, 1], labels=["against", "0", "for"] if signed else ["0", "most"])
    bar.ax.tick_params(labelsize=8, colors=FAINT, length=0)
    bar.outline.set_visible(False)
    words = {"gradcam": "Grad-CAM", "ig": "integrated gradients", "smoothgrad": "SmoothGrad", "occlusion": "occlusion"}
    note = words[found.method] + (f" at {found.layer}" if found.layer else "")
    figure.text(
        0.2 / wide, 0.12 / height, f"{note}; {Path(document['network']).name}", fontsize=8, color=FAINT, parse_math=False
    )
    return figure


def _softened(found: Attribution) -> Any:
    """Maps of single pixels are averaged with their neighbours for the eye; their numbers stay as they are."""
    if found.method not in ("ig", "smoothgrad"):
        return found.values
    return box_mean(found.values, 5, "empty")
