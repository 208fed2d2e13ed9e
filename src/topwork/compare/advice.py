"""Last layer, staged features, or fine-tuning: what held-out pictures say, each with its measured reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from topwork.compare.probe import Probe, best_of, mcnemar, mean_gain, probes
from topwork.compare.profile import Layer
from topwork.compare.reading import Seen
from topwork.compare.words import percent
from topwork.heads.metrics import Z95

LAST = ("last", "last+answers")
STAGED = ("last+stages", "stages")

SAVED = 1 / 4
"""Share of the errors of staged features that fine-tuning is expected to save where the end of the network does not suit the
pictures (measured on held-out satellite tiles: 4.2 % to 3.3 % of 960; on handwritten digits, MNIST: 4.3 % to 3.3 % of 600)."""

WORTH = 0.005
"""Accuracy that must be in sight for fine-tuning to be worth its time."""

STRANGE = 0.08
"""Distance by the normalisation layers below which fine-tuning is not advised: on lite0 it helped at .095 (satellite tiles) and
at .145 (MNIST); on emoji, at .070, it lost two points, and on photos, below .04, it brought nothing."""

LEAST_PER_CLASS, LEAST_PICTURES = 15, 200
"""Pictures below which millions of weights learn the pictures, not the classes."""

EPOCHS = 40
"""Of a whole fine-tune: the trial of depths, the run, two more folds, and once more from all pictures."""
SLOWER = 6.0
"""A training step on a picture costs about so many times the engine's forward pass."""


@dataclass(frozen=True)
class Advice:
    """What to train, what it is expected to bring and cost, and why."""

    advice: str
    """last, staged, finetune."""
    reason: str
    last: dict[str, Any]
    """accuracy, low, high of the best probe on the last features."""
    staged: dict[str, Any] | None
    """The same of the best probe on the stages; None where the network has none."""
    gain: dict[str, float] | None
    """Staged less last on the same pictures: accuracy, low, high; p of McNemar's exact test; log_loss with its low and high."""
    stages: list[dict[str, Any]]
    """name, accuracy of a probe on each stage alone: where along the network the knowledge lies."""
    from_block: str | None
    """Where fine-tuning would begin: the stage after the first that knows as much as any."""
    expected: dict[str, float]
    """accuracy, low, high to expect from following the advice."""
    cost_seconds: float
    """Of the advice, beyond a fit, on this machine."""


def advise(seen: Seen, distance: float, layers: list[Layer], seed: int = 0) -> Advice:
    """The advice for labelled pictures.

    Staged features cost nothing, so they are advised where held-out pictures are told better with them (the whole 95 % interval
    of the paired difference above 0, in log loss or in right answers). Then the end of the network does not suit the pictures,
    and training it is advised too, where enough errors are left to gain and enough pictures are there to learn from.
    """
    spec, labels = seen.chosen.spec, seen.labels
    present = np.unique(labels, return_inverse=True)[1]
    classes = int(present.max()) + 1
    found = probes(seen.found.table, present, seen.groups, classes, spec.views, seed)
    last = best_of({name: found[name] for name in LAST if name in found})
    stages = _stages(seen, present, classes, seed)
    if not spec.stages:
        reason = f"{spec.id} tells of no stages; its last features answer {percent(last.accuracy)} of held-out pictures right"
        return Advice("last", reason, _told(last), None, None, [], None, _told(last), 0.0)
    staged = best_of({name: found[name] for name in STAGED if name in found})
    gain, loss = mean_gain(last.right, staged.right), mean_gain(staged.losses, last.losses)
    told_gain = {
        "accuracy": gain[0],
        "low": gain[1],
        "high": gain[2],
        "p": mcnemar(last.right, staged.right),
        "log_loss": loss[0],
        "log_loss_low": loss[1],
        "log_loss_high": loss[2],
    }
    better = (loss[1] > 0 or gain[1] > 0) and loss[0] > 0 and gain[0] >= 0
    best = staged if better else last
    count, error = len(labels), 1 - best.accuracy
    block, share = _from_block([one["accuracy"] for one in stages], [name for name, _ in spec.stages], count)
    there = max(seen.available, count)  # to learn from; held-out answers are those of the sample
    seconds = EPOCHS * there * SLOWER * share / max(seen.rate, 1.0)
    measured = (
        f"held-out pictures right: {percent(last.accuracy)} from the last layer, {percent(staged.accuracy)} from its stages "
        f"({gain[0] * 100:+.1f} points, {gain[1] * 100:+.1f} to {gain[2] * 100:+.1f}, {count} pictures)"
    )
    guess = float(np.bincount(present).max()) / count
    if best.interval[0] <= guess:
        reason = (
            f"the last layer: {measured}, no better than always saying the largest class ({percent(guess)}): nothing that this "
            "network sees tells these classes apart. Do the labels name something that can be seen? "
            "If so, more photos, or a network trained on pictures like these"
        )
        return Advice("last", reason, _told(last), _told(staged), told_gain, stages, None, _told(last), 0.0)
    enough = there >= max(LEAST_PICTURES, LEAST_PER_CLASS * classes)
    hoped = SAVED * error
    strange = not layers or distance >= STRANGE
    if better and enough and strange and hoped >= WORTH:
        expected = _hoped(best, hoped)
        reason = (
            f"fine-tune from {block}: {measured}, so the end of the network does not suit these pictures (distance "
            f"{distance:.3f}); {percent(error)} are still wrong, of which training usually saves about a quarter; about "
            f"{_minutes(seconds)} here"
        )
        return Advice("finetune", reason, _told(last), _told(staged), told_gain, stages, block, expected, round(seconds, 1))
    if better:
        why = (
            f"{there / classes:.0f} pictures a class are too few to train more"
            if not enough
            else f"at a distance of {distance:.3f} training the network has not paid ({STRANGE:g} and more is where it did)"
            if not strange
            else f"only {percent(error)} are still wrong, which leaves little to gain from training"
        )
        reason = f"staged features: {measured}, at no price; {why}"
        return Advice("staged", reason, _told(last), _told(staged), told_gain, stages, block, _told(staged), 0.0)
    reason = f"the last layer: {measured}: what the network learned at its end is what these pictures need"
    if error > 0.05:
        reason += "; to get better, more photos or a larger network (topwork curve, topwork compare)"
    return Advice("last", reason, _told(last), _told(staged), told_gain, stages, block, _told(last), 0.0)


def _stages(seen: Seen, labels: Any, classes: int, seed: int) -> list[dict[str, Any]]:
    views, place = {}, 0
    for name, channels in seen.chosen.spec.stages:
        views[name] = np.arange(place, place + channels, dtype=np.int64)
        place += channels
    if not views:
        return []
    found = probes(seen.found.table, labels, seen.groups, classes, views, seed, ridges=(0.3,))
    return [{"name": name, "accuracy": round(found[name].accuracy, 4)} for name in views]


def _from_block(accuracies: list[float], names: list[str], count: int) -> tuple[str, float]:
    """The stage after the first that knows as much as any, and the share of the network from there on.

    As much: within one standard error of the best; what comes later adds nothing for these pictures, so it may change.
    """
    best = max(accuracies)
    slack = (best * (1 - best) / count) ** 0.5
    knows = next(place for place, accuracy in enumerate(accuracies) if accuracy >= best - slack)
    first = min(knows + 1, len(names) - 1)
    return names[first], (len(names) - first) / len(names)


def _told(probe: Probe) -> dict[str, Any]:
    low, high = probe.interval
    return {"view": probe.view, "accuracy": round(probe.accuracy, 4), "low": round(low, 4), "high": round(high, 4)}


def _hoped(probe: Probe, hoped: float) -> dict[str, Any]:
    """What fine-tuning may come to: between nothing gained and twice what is hoped for."""
    low, high = probe.accuracy, min(1.0, probe.accuracy + 2 * hoped)
    half = Z95 * (probe.accuracy * (1 - probe.accuracy) / len(probe.labels)) ** 0.5
    return {
        "accuracy": round(probe.accuracy + hoped, 4),
        "low": round(max(0.0, low - half), 4),
        "high": round(min(1.0, high + half), 4),
    }


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
