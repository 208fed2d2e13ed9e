"""The learning curve: accuracy against pictures a class, from stored features, and which classes gain most from more."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.compare.forecast import PowerLaw, fit_power_law, next_goal
from topwork.compare.gains import ClassGain, class_gains
from topwork.compare.probe import best_of, fold_count, probes
from topwork.compare.reading import LookSettings, changed, need_labels, nested_order, opened, see, training
from topwork.compare.words import percent
from topwork.features.extract import Progress
from topwork.features.table import FeatureTable
from topwork.heads.calibrate import fit_temperature
from topwork.heads.designs import design
from topwork.heads.discriminant import Discriminant
from topwork.heads.metrics import log_loss, wilson
from topwork.heads.parallel import in_parallel, one_thread_algebra
from topwork.pictures.records import need_classes
from topwork.pictures.sources import Pictures
from topwork.pictures.splits import grouped_folds

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

STEP = 0.6
"""Each size is this share of the next."""

MOST_SIZES = 7
RIDGES = (1.0, 0.3, 0.1)
BOOTSTRAPS = 1_000

MOST_PICTURES = 5_000
"""Of more pictures a sample draws the curve; the forecast speaks of all."""

LEAST_EACH = 4
"""Pictures a class, below which there is no curve to draw."""

HARDLY = 20.0
"""Times today's pictures beyond which a forecast says no more than "hardly"."""


@dataclass(frozen=True)
class CurveSettings:
    """How a learning curve is measured."""

    repeats: int = 3
    """Times that the pictures are dealt anew."""
    enough: int = 4_000
    """Pictures answered, over the repeats, from which no further deal is made."""
    goal: float | None = None
    """The accuracy to forecast the pictures for; None: about half the error of today."""
    seed: int = 0


@dataclass(frozen=True)
class Point:
    """Accuracy of heads that learned from so many pictures a class."""

    per_class: float
    pictures: int
    accuracy: float
    low: float
    """95 % interval (Wilson 1927) on the held-out pictures."""
    high: float


@dataclass(frozen=True)
class Curve:
    """A learning curve, its forecast, and the classes in the order of what more photos bring."""

    points: list[Point]
    forecast: dict[str, Any]
    """now, twice, and goal: see `_told`."""
    classes: list[ClassGain]
    pictures: int
    """That there are today."""
    view: str
    reason: str
    """The forecast in words."""
    seconds: float
    backbone: str = ""
    broken: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass
class _Measured:
    """Held-out answers of one size, summed over the repeats."""

    right: Float64
    """(repeats, N)."""
    per_class: float
    pictures: int


def curve(
    pictures: Pictures,
    *,
    how: CurveSettings | None = None,
    settings: LookSettings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Curve:
    """The learning curve of labelled pictures: a folder, a CSV or (picture, label) pairs. Raises InputError.

    `changes` are settings of what is looked at, by name: curve(folder, backbone="timm:resnet50").
    """
    settings = changed(settings or LookSettings(most=MOST_PICTURES), changes)
    with opened(pictures) as given:
        records = need_labels(training(given), LEAST_EACH)
        seen = see(records, settings, progress, least=LEAST_EACH)
    need_classes(seen.found.records, LEAST_EACH)
    views = seen.chosen.spec.views
    how = replace(how or CurveSettings(), seed=settings.seed)
    available = round(len(records) * len(seen.labels) / (len(seen.labels) + len(seen.found.broken)))
    found = learning_curve(seen.found.table, seen.labels, seen.groups, seen.classes, views, how, available)
    return replace(found, broken=seen.found.broken, warnings=seen.notes, backbone=seen.chosen.spec.id)


def learning_curve(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    classes: list[str],
    views: Mapping[str, NDArray[np.int64]],
    settings: CurveSettings | None = None,
    available: int | None = None,
) -> Curve:
    """The curve of a table (N, D_full), labels and near-copy groups (N,): nested parts of the training folds, several deals.

    Heads are ridge discriminants, whose ridge is chosen for each size: about as good as what `fit` ends with.
    available: pictures that there are, where the table is a sample of them.
    """
    began = time.perf_counter()
    settings = settings or CurveSettings()
    view = best_of(probes(table, labels, groups, len(classes), views, settings.seed, RIDGES[1:2])).view
    with one_thread_algebra():
        measured = _measure(table, labels, groups, len(classes), views[view], settings)
    sizes = np.array([one.pictures for one in measured], float)
    right = np.stack([one.right.mean(0) for one in measured])  # (J, N)
    errors = 1 - right.mean(1)
    drawn = _bootstrap(right, groups, settings.seed)  # (B, J)
    noise = np.cov(drawn.T).reshape(len(sizes), len(sizes))
    if len(measured[0].right) > 1:  # what the choice of training pictures adds
        noise = noise + np.diag([one.right.mean(1).var(ddof=1) for one in measured])
    law = fit_power_law(sizes, errors, noise, settings.seed)
    count = len(labels)
    available = available or count
    now = law.accuracy(available)
    goal = next_goal(now[0]) if settings.goal is None else settings.goal
    forecast = _told(law, float(sizes[0]), available, len(classes), goal)
    points = [
        Point(round(one.per_class, 2), one.pictures, float(share), *wilson(round(share * count), count))
        for one, share in zip(measured, right.mean(1), strict=True)
    ]
    ratio = forecast["twice"]["accuracy"] - now[0]
    gains = class_gains(right, labels, classes, sizes, ratio)
    return Curve(points, forecast, gains, available, view, _words(forecast), round(time.perf_counter() - began, 3))


def _measure(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    classes: int,
    columns: NDArray[np.int64],
    settings: CurveSettings,
) -> list[_Measured]:
    """Held-out answers for each size, smallest first."""
    count = len(labels)
    repeats = min(settings.repeats, -(-settings.enough // count))
    folds = fold_count(labels, groups) if count < settings.enough else 3
    shares = _shares(count * (folds - 1) / folds / classes)
    logits = np.zeros((repeats, len(shares), len(RIDGES), count, classes), np.float32)
    used = np.zeros((repeats, folds, len(shares)))

    def one(repeat: int, fold: int, dealt: Labels, order: Labels) -> None:
        held = np.flatnonzero(dealt == fold)
        seen = order[dealt[order] != fold]
        for place, share in enumerate(shares):
            some = seen[: max(2, round(share * len(seen)))]
            used[repeat, fold, place] = len(some)
            logits[repeat, place][:, held] = _answers(table, labels, some, held, columns, classes, RIDGES)

    jobs = []
    for repeat in range(repeats):
        dealt = grouped_folds(labels, groups, folds, settings.seed + repeat)
        order = nested_order(labels, np.random.default_rng((settings.seed, repeat)))
        jobs += [lambda a=repeat, b=fold, c=dealt, d=order: one(a, b, c, d) for fold in range(folds)]
    in_parallel(jobs)
    found = []
    for place in range(len(shares)):
        losses = []
        for ridge in range(len(RIDGES)):
            every = logits[:, place, ridge].reshape(-1, classes)
            losses.append(log_loss(every, np.tile(labels, repeats), fit_temperature(every, np.tile(labels, repeats))))
        best = logits[:, place, int(np.argmin(losses))]
        size = float(used[..., place].mean())
        found.append(_Measured((best.argmax(2) == labels).astype(np.float64), size / classes, round(size)))
    return found


def _shares(per_class: float) -> list[float]:
    """Shares of the training pictures, smallest first, down to two a class."""
    most = max(1, min(MOST_SIZES, 1 + math.floor(math.log(max(per_class / 2, 1)) / -math.log(STEP))))
    return [STEP**place for place in reversed(range(most))]


def _answers(
    table: FeatureTable,
    labels: Labels,
    seen: Labels,
    held: Labels,
    columns: NDArray[np.int64],
    classes: int,
    ridges: tuple[float, ...],
) -> Float32:
    """Logits (ridges, held, K) of heads that learned from the rows `seen`."""
    data = design(table, columns, "sqrt", seen)
    model = Discriminant(data, labels[seen], np.zeros(len(seen), np.int64), classes)
    rows = data.standardise(table.take(held))
    return np.stack([rows @ model.solve(ridge) for ridge in ridges])


def _bootstrap(right: Float64, groups: Labels, seed: int) -> Float64:
    """Errors (B, J) over drawn anew groups of pictures."""
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group).astype(float)
    sums = np.stack([np.bincount(group, row) for row in right])  # (J, G)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), BOOTSTRAPS)  # (B, G)
    return np.asarray(1 - (drawn @ sums.T) / (drawn @ sizes)[:, None])


def _told(law: PowerLaw, first: float, pictures: int, classes: int, goal: float) -> dict[str, Any]:
    """The forecast: accuracy today, with twice the pictures and on the way there; pictures a class that the goal takes more."""

    def at(count: float) -> dict[str, float]:
        middle, low, high = law.accuracy(count)
        return {"per_class": round(count / classes, 1), "accuracy": middle, "low": low, "high": high}

    def more(count: float) -> float | None:
        return max(0.0, math.ceil((count - pictures) / classes)) if count < HARDLY * pictures else None

    middle, low, high = law.needed(goal)
    return {
        "path": [at(count) for count in np.geomspace(first, 2 * pictures, 24)],
        "now": at(pictures),
        "twice": at(2 * pictures),
        "goal": goal,
        "more_per_class": more(middle),
        "more_per_class_low": more(low),
        "more_per_class_high": more(high),
        "exponent": float(np.median(law.exponent)),
        "ceiling": float(1 - np.median(law.floor)),
    }


def _words(forecast: dict[str, Any]) -> str:
    goal, middle = forecast["goal"], forecast["more_per_class"]
    low, high = forecast["more_per_class_low"], forecast["more_per_class_high"]
    twice = forecast["twice"]
    doubled = f"twice the pictures: {percent(twice['accuracy'])} ({percent(twice['low'])} to {percent(twice['high'])})"
    if middle == 0:
        return f"{100 * goal:.4g} % is reached already; {doubled}"
    if middle is None:
        least = "" if low is None else f" (at best about {low:,.0f} more a class)"
        return f"{100 * goal:.4g} % will hardly be reached by more pictures alone{least}; {doubled}"
    span = f"{low:,.0f} to {high:,.0f}" if high is not None else f"at least {low:,.0f}; perhaps no number is enough"
    return f"{100 * goal:.4g} % needs about {middle:,.0f} more a class ({span}); {doubled}"
