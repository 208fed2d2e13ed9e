"""How strange pictures are to a network, what it takes them for, and what follows: last layer, staged features, fine-tuning."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.compare.advice import Advice, advise
from topwork.compare.profile import Layer, Profiler, open_profiler, profile
from topwork.compare.reading import LookSettings, Seen, changed, opened, see, training
from topwork.errors import InputError
from topwork.features.extract import Progress
from topwork.pictures.decode import Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.pictures.sources import Pictures
from topwork.zoo.spec import BackboneSpec

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]

PROFILED = 100
"""Pictures whose activations are looked at: more change the figure by less than its own noise."""

DEEP = 3
"""The one figure is the mean of the last third of the layers: what a head reads."""

OWN_ENTROPY = 0.25
"""Mean entropy of the answers, as a share of the most there could be, that a network gives to photos of its own kind: lite0 on
300 ImageNet photos, one a class (0.246), counted with `doubt`. For networks without batch normalisation."""

LANDMARKS = {
    "ImageNet photos": 0.004,
    "cats and dogs": 0.030,
    "37 breeds of pets": 0.032,
    "satellite tiles": 0.094,
    "handwritten digits": 0.185,
}
"""What lite0 says of well-known sets, by `topwork distance` on 300 to 500 pictures of each."""

MOST_NAMES = 5


@dataclass(frozen=True)
class Distance:
    """How strange pictures are to a network, and what follows."""

    distance: float
    """0: as what it was trained on; 1: nothing in common."""
    measured_by: str
    """normalisation layers, or answers."""
    layers: list[dict[str, Any]]
    """name, distance: in the order in which pictures pass them."""
    taken_for: dict[str, list[dict[str, Any]]]
    """Of each class the names that its pictures get most, with their shares; under "" those of all pictures without labels."""
    advice: str | None
    """last, staged or finetune; None without labels."""
    reason: str
    details: dict[str, Any]
    """What the advice stands on, see `Advice`."""
    backbone: str
    pictures: int
    broken: list[dict[str, str]]
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def distance(
    pictures: Pictures, *, settings: LookSettings | None = None, progress: Progress | None = None, **changes: Any
) -> Distance:
    """How strange pictures are to a network: a folder, a CSV, (picture, label) pairs or pictures; labels where there are some.

    `changes` are settings by name. Raises InputError, UnknownName, WeightsError.
    """
    began = time.perf_counter()
    settings = changed(settings or LookSettings(), changes)
    with opened(pictures) as records:
        seen = see(training(records), settings, progress)
        profiler = open_profiler(seen.chosen, settings.device)
        layers = _profiled(seen, profiler) if profiler is not None else []
    spec = seen.chosen.spec
    answers = answers_of(seen)
    if layers:
        figure, by = one_figure(layers), "normalisation layers"
    elif answers is not None:
        figure, by = strangeness(doubt(answers)), "answers"
    else:
        raise InputError(
            f"{spec.id}: has neither batch normalisation nor a classifier of its own, so nothing tells what it was trained on. "
            "Choose another with --backbone."
        )
    taken = taken_for(answers, seen.labels, seen.classes, spec) if answers is not None else {}
    advice: Advice | None = None
    if seen.labelled:
        advice = advise(seen, figure, layers, settings.seed)
    count = len(seen.found.records)
    told = "a single picture says" if count == 1 else f"{count} pictures say"
    few = [f"{told} little: the figure may be off by half"] if count < 30 else []
    return Distance(
        distance=round(figure, 4),
        measured_by=by,
        layers=[{"name": one.name, "distance": round(one.distance, 4)} for one in layers],
        taken_for=taken,
        advice=None if advice is None else advice.advice,
        reason=_no_labels(seen) if advice is None else advice.reason,
        details={} if advice is None else asdict(advice),
        backbone=spec.id,
        pictures=len(seen.labels),
        broken=seen.found.broken,
        seconds=round(time.perf_counter() - began, 3),
        warnings=[*seen.notes, *few],
    )


def one_figure(layers: list[Layer]) -> float:
    """The mean distance of the last third of the layers."""
    return float(np.mean([one.distance for one in layers[-max(1, len(layers) // DEEP) :]]))


def _profiled(seen: Seen, profiler: Profiler) -> list[Layer]:
    """The distance at each layer, from pictures spread over the table."""
    rows = seen.found.records.rows
    geometry = seen.chosen.spec.geometry
    pixels: list[Pixels] = []
    for place in np.unique(np.linspace(0, len(rows) - 1, min(PROFILED, len(rows))).round().astype(int)):
        try:
            pixels.append(to_pixels(decode(read_bytes(rows[place].path), wanted=geometry).image, geometry))
        except BadPicture:
            continue  # it was there a moment ago
    if not pixels:
        raise InputError(f"{seen.found.records.source}: pictures vanished while they were read. Run again.")
    return profile(profiler.layers, profiler.statistics(pixels))


def answers_of(seen: Seen) -> NDArray[np.float32] | None:
    """(N, Z) probabilities of the classes that the network was trained on; None where it has no classifier."""
    spec = seen.chosen.spec
    if not spec.answers:
        return None
    return np.concatenate([rows[:, -spec.answers :] for _, rows in seen.found.table.blocks()])


def doubt(answers: Floats) -> float:
    """Mean entropy of answers (N, Z), as a share of the most there could be: 0 sure of all, 1 knows nothing."""
    answers = np.asarray(answers, np.float64)
    entropy = -(answers * np.log(np.maximum(answers, 1e-12))).sum(1)
    return float(entropy.mean() / np.log(max(answers.shape[1], 2)))


def strangeness(share: float) -> float:
    """A doubt as a distance: 0 as on photos of the network's own kind, 1 where it knows nothing."""
    return float(np.clip((share - OWN_ENTROPY) / (1 - OWN_ENTROPY), 0, 1))


def taken_for(answers: Floats, labels: Labels, classes: list[str], spec: BackboneSpec) -> dict[str, list[dict[str, Any]]]:
    """Of each class the original classes that most of its pictures are taken for, with their shares, largest first."""
    names = [name.split(",")[0].strip() for name in spec.class_names]
    top = answers.argmax(1)
    found = {}
    groups = (
        [(name, labels == place) for place, name in enumerate(classes)] if (labels >= 0).any() else [("", labels == labels)]
    )
    for name, mine in groups:
        if mine.any():
            counts = np.bincount(top[mine], minlength=answers.shape[1])
            order = np.argsort(-counts, kind="stable")[:MOST_NAMES]
            found[name] = [{"name": names[k], "share": round(float(counts[k] / mine.sum()), 4)} for k in order if counts[k]]
    return found


def _no_labels(seen: Seen) -> str:
    classes = len(seen.classes)
    why = "no labels" if not (seen.labels >= 0).any() else "one class" if classes == 1 else "a class with fewer than 2 pictures"
    return f"no advice: {why}, so no head can be tried on held-out pictures. Give at least two classes of two pictures or more"
