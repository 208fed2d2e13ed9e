"""The search for a head: view, mirror images, transform, kind and strength, all chosen on held-out training pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.features.table import FeatureTable, stacked
from topwork.heads.calibrate import Calibration, calibrate
from topwork.heads.designs import CACHE_BYTES
from topwork.heads.head import Head, folded
from topwork.heads.neighbours import AnyHead, try_neighbours
from topwork.heads.parallel import one_thread_algebra
from topwork.heads.recipes import Fit, Ground, LogisticPath, Trial, blend, nearest_mean, try_discriminant
from topwork.pictures.splits import grouped_folds

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]
View = NDArray[np.integer] | slice


@dataclass(frozen=True)
class HeadSettings:
    """What the search for a head may try."""

    folds: int = 5
    """Parts for cross-validation; fewer where the largest class has fewer different pictures; at least 2."""
    few_folds_cells: int = 400_000
    """Pictures x classes beyond which 3 parts are enough."""
    strengths: tuple[float, ...] = tuple(10.0 ** (half / 2) for half in range(-12, 13))
    """L2 strengths of logistic regression (1 / C of scikit-learn)."""
    first_strength: float = 1e2
    """Strength at which views are compared and the search for a better one begins."""
    ridges: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    """Ridges of the linear discriminant, in the order tried while it gets better."""
    kinds: tuple[str, ...] = ("logistic", "discriminant", "blend", "nearest mean", "k-nn")
    """Kinds of head to try: logistic always; blend is of logistic and discriminant."""
    neighbours: tuple[int, ...] = (1, 5, 15)
    """Numbers of neighbours that k-nn tries."""
    neighbour_pictures: int = 4_000
    """Of more pictures k-nn and the nearest mean are not tried: they win at few, if anywhere."""
    transforms: tuple[str, ...] = ("sqrt", "none")
    """Transforms of the features: the first chooses the view; the others are tried on it. none, sqrt (signed root)."""
    transform_error: float = 0.01
    """Held-out error above which other transforms than the first are tried."""
    screen_pictures: int = 4_000
    """Pictures to choose on; of larger sets a stratified sample, one a group."""
    screen_cells: int = 120_000
    """Pictures x classes to choose on, but at least 10 pictures a class."""
    second_error: float = 0.015
    """Held-out error above which a second look at the pictures, their mirror images, is tried."""
    second_gain: float = 0.1
    """Share of the held-out log loss that a second look at every picture asked about must take away: it doubles the price."""
    balance_ratio: float = 3.0
    """Largest to smallest class from which weighting all classes the same is tried."""
    seed: int = 0
    """Deals the folds and draws the sample."""


@dataclass(frozen=True, eq=False)
class Search:
    """The chosen head and how it was found."""

    head: AnyHead
    logits: Float32
    """(N, K) of every picture from a head of the same recipe that never saw its group; before the temperature."""
    folds: Labels
    """(N,) the fold each picture was held out in."""
    trial: Trial
    """What the head was chosen by; one of `trials`."""
    trials: list[Trial]
    reasons: dict[str, str]
    """Why, for each automatic choice: view, transform, kind, strength, looks, class_weights, calibration."""
    warnings: list[str]
    calibration: Calibration
    seconds: float


def search(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    classes: list[str],
    views: Mapping[str, View],
    second_look: Callable[[], FeatureTable] | None = None,
    settings: HeadSettings | None = None,
) -> Search:
    """The head that does best on held-out pictures of a table (N, D_full).

    labels (N,) class indices; groups (N,) equal for near-copies, which never stand on both sides of a split;
    views: columns of the table by name; second_look: makes the table of the same pictures' mirror images, called only if
    there is something to gain: heads may learn from both, and answers may average both (head.mirrored). The choice is made
    on log loss after the best temperature: it tells recipes apart on far fewer pictures than accuracy does.
    """
    with one_thread_algebra():
        return _search(table, labels, groups, classes, views, second_look, settings or HeadSettings())


def _search(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    classes: list[str],
    views: Mapping[str, View],
    second_look: Callable[[], FeatureTable] | None,
    settings: HeadSettings,
) -> Search:
    began = time.perf_counter()
    labels, groups = np.asarray(labels, np.int64), np.asarray(groups, np.int64)
    folds, warnings = _deal(labels, groups, classes, settings)
    columns = {name: np.arange(table.shape[1])[view].astype(np.int64) for name, view in views.items()}
    rows = _sample(labels, groups, len(classes), table, settings)
    ground = Ground({False: table}, labels, folds, len(classes), columns, settings.seed, rows)
    reasons: dict[str, str] = {}

    best = _choose_view(ground, settings)
    best = _try_transforms(ground, best, settings, reasons)
    ground, best = _try_second_look(ground, best, second_look, settings, reasons)
    best = _try_balanced(ground, best, settings, reasons)
    best = _try_nearest_mean(ground, best, settings)
    _explain(ground.trials, best.trial, settings, reasons, warnings)
    if rows is not None:
        whole = Ground(ground.tables, labels, folds, len(classes), columns, settings.seed)
        best = _on_all(whole, best, len(labels) / len(np.unique(groups)), settings)
        ground.trials += whole.trials
        reasons["kind"] += f"; on all {len(labels)} pictures {best.trial.kind} ({best.trial.log_loss:.3f})"

    trial, logits = best.trial, ground.answers(best.logits)
    head: AnyHead = _head(best, ground)
    if "k-nn" in settings.kinds and len(labels) <= settings.neighbour_pictures:
        single = Ground({False: table}, labels, folds, len(classes), columns, settings.seed, None, ground.trials)
        nearest = try_neighbours(single, trial, settings.neighbours)
        if nearest is not None and nearest[0].log_loss < trial.log_loss:
            reasons |= _of_neighbours(nearest[0], best.trial)
            trial, logits, head = nearest
    calibration = calibrate(logits, labels, folds)
    reasons["calibration"] = calibration.reason
    head = replace(head, temperature=calibration.temperature)
    return Search(head, logits, folds, trial, ground.trials, reasons, warnings, calibration, time.perf_counter() - began)


def _deal(labels: Labels, groups: Labels, classes: list[str], settings: HeadSettings) -> tuple[Labels, list[str]]:
    """Folds (N,), and what the user should know about them."""
    different = np.zeros(len(classes), np.int64)
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    np.add.at(different, pairs, 1)
    lone = [name for name, count in zip(classes, different, strict=True) if count < 2]
    warnings = []
    if lone:
        warnings.append(
            f"{', '.join(lone)}: fewer than 2 different pictures (near-copies count once), so held-out figures count "
            "each of them as wrong. Add pictures."
        )
    # More folds than a small class has groups do no harm: the heads see more of it, not less.
    wanted = settings.folds if len(labels) * len(classes) <= settings.few_folds_cells else min(settings.folds, 3)
    count = int(max(2, min(wanted, different.max())))
    return grouped_folds(labels, groups, count, settings.seed), warnings


def _sample(
    labels: Labels, groups: Labels, classes: int, table: FeatureTable, settings: HeadSettings
) -> NDArray[np.int64] | None:
    """Rows (sorted) of a stratified sample, one picture a group, small enough to try many recipes on; None: all."""
    limit = max(min(settings.screen_cells // classes, settings.screen_pictures), 10 * classes)
    limit = max(min(limit, CACHE_BYTES // (4 * table.shape[1])), 1)
    if len(labels) <= limit:
        return None
    drawn = np.random.default_rng(settings.seed).permutation(len(labels))
    rows = np.sort(drawn[np.unique(groups[drawn], return_index=True)[1]])
    parts = -(-len(rows) // limit)
    return rows[grouped_folds(labels[rows], rows, parts, settings.seed + 1) == 0] if parts > 1 else rows


def _choose_view(ground: Ground, settings: HeadSettings) -> Fit:
    """The best fit over views and kinds: one strength tells the views apart, the best view gets the rest."""
    grid = sorted(settings.strengths)
    first = int(np.argmin(np.abs(np.log(np.array(grid) / settings.first_strength))))
    best: Fit | None = None
    path: LogisticPath | None = None
    for view in ground.columns:
        blank = Trial(view, False, settings.transforms[0], "logistic", 0.0, 0.0, False)
        here = LogisticPath(ground, blank, ground.design(view, False, blank.transform))
        there = here.visit(grid[first])
        if best is None or there.rank < best.rank:
            best, path = there, here
    assert best is not None and path is not None  # noqa: S101 - there is always one view
    logistic = path.descend(grid, first)
    return _with_partners(ground, logistic, settings.ridges, settings.kinds)


def _with_partners(ground: Ground, logistic: Fit, ridges: tuple[float, ...], kinds: tuple[str, ...]) -> Fit:
    """The best of a logistic fit, the discriminant of the same view, and their blend."""
    if kinds == ("logistic",):
        return logistic
    return _best_kind(ground, logistic, try_discriminant(ground, logistic, ridges), kinds)


def _best_kind(ground: Ground, logistic: Fit, discriminant: Fit, kinds: tuple[str, ...]) -> Fit:
    fits = {"logistic": logistic, "discriminant": discriminant}
    if "blend" in kinds:
        fits["blend"] = blend(ground, logistic, discriminant)
    # Two heads err differently, so their blend is the better bet where held-out pictures cannot tell.
    tried = [fits[kind] for kind in kinds if kind in fits]
    return min(tried, key=lambda fit: fit.rank[0] * (0.98 if fit.trial.kind == "blend" else 1.0))


def _rank(fit: Fit) -> tuple[float, float]:
    return fit.rank


def _again(ground: Ground, best: Fit, settings: HeadSettings, **change: Any) -> Fit:
    """The recipe of a fit with one thing changed; the kind is chosen anew."""
    blank = replace(best.trial, **change)
    data = ground.design(blank.view, blank.mirrored, blank.transform)
    logistic = LogisticPath(ground, blank, data).visit(blank.strength, best.starts)
    return _with_partners(ground, logistic, (blank.ridge,) if blank.ridge else settings.ridges, settings.kinds)


def _try_transforms(ground: Ground, best: Fit, settings: HeadSettings, reasons: dict[str, str]) -> Fit:
    error, others = round(1 - best.trial.accuracy, 4), settings.transforms[1:]
    if not others or error <= settings.transform_error:
        why = f"{error:.1%} held-out error leaves little to gain from another" if others else "the only one to try"
        reasons["transform"] = f"{best.trial.transform}: {why}"
        return best
    fits = [best, *(_again(ground, best, settings, transform=other) for other in others)]
    best = min(fits, key=_rank)
    losses = ", ".join(f"{fit.trial.transform} {fit.trial.log_loss:.3f}" for fit in fits)
    reasons["transform"] = f"{best.trial.transform}: least held-out log loss ({losses})"
    return best


def _on_all(ground: Ground, best: Fit, copies: float, settings: HeadSettings) -> Fit:
    """The recipe of a fit on a sample, on all pictures; the kind is chosen anew.

    `copies`: pictures a group. The loss is a sum, so copies of a picture call for as much more strength.
    The logistic fits start from the discriminants, each from the one that left out the same fold.
    """
    trial = replace(best.trial, strength=best.trial.strength * copies)
    data = ground.design(trial.view, trial.mirrored, trial.transform)
    path = LogisticPath(ground, trial, data)
    if settings.kinds == ("logistic",):
        return path.visit(trial.strength)
    discriminant = try_discriminant(ground, replace(best, data=data), settings.ridges)
    return _best_kind(ground, path.visit(trial.strength, discriminant.starts), discriminant, settings.kinds)


def _try_second_look(
    ground: Ground, best: Fit, second_look: Callable[[], FeatureTable] | None, settings: HeadSettings, reasons: dict[str, str]
) -> tuple[Ground, Fit]:
    """The ground and fit to go on with: one look, learning from two, or learning from and answering by two."""
    error = round(1 - best.trial.accuracy, 4)
    why = None
    if second_look is None:
        why = "mirror images were not offered"
    elif ground.rows is not None:
        why = f"with {len(ground.labels)} pictures mirror images tell little that is new"
    elif error <= settings.second_error:
        why = f"{error:.1%} held-out error leaves little to gain from mirror images"
    if why is not None or second_look is None:
        reasons["looks"] = f"one: {why}"
        return ground, best
    both = stacked(ground.tables[False], second_look())
    labels, folds = np.tile(ground.labels, 2), np.tile(ground.folds, 2)
    two = Ground({True: both}, labels, folds, ground.classes, ground.columns, ground.seed, None, ground.trials, looks=2)
    # The loss is a sum, so twice the rows call for twice the strength.
    there = _again(two, best, settings, mirrored=True, strength=2 * best.trial.strength)
    averaged = replace(two, averaged=True)
    mean = averaged.note(replace(there.trial, seconds=0.0), there.logits, time.perf_counter())
    told = (
        f"held-out log loss {best.trial.log_loss:.3f} with one look, {there.trial.log_loss:.3f} when the head also learns from "
        f"mirror images, {mean.log_loss:.3f} when answers average both, which doubles their price and must bring "
        f"{settings.second_gain:.0%}"
    )
    if mean.log_loss < (1 - settings.second_gain) * min(there.trial.log_loss, best.trial.log_loss):
        reasons["looks"] = f"two, averaged: {told}"
        return averaged, replace(there, trial=mean)
    if there.trial.log_loss < best.trial.log_loss:
        reasons["looks"] = f"two while learning, one to answer: {told}"
        return two, there
    reasons["looks"] = f"one: {told}"
    return ground, best


def _try_nearest_mean(ground: Ground, best: Fit, settings: HeadSettings) -> Fit:
    """The nearest class mean, if it beats everything before it; wins at few pictures a class, if anywhere."""
    few = ground.rows is None and len(ground.labels) <= settings.neighbour_pictures * ground.looks
    if "nearest mean" not in settings.kinds or not few:
        return best
    return min(best, nearest_mean(ground, best), key=_rank)


def _try_balanced(ground: Ground, best: Fit, settings: HeadSettings, reasons: dict[str, str]) -> Fit:
    sizes = np.bincount(ground.labels, minlength=ground.classes)
    ratio = float(sizes.max() / max(sizes.min(), 1))
    if ratio < settings.balance_ratio:
        reasons["class_weights"] = f"none: the largest class has {ratio:.1f} times the pictures of the smallest"
        return best
    there = _again(ground, best, settings, balanced=True)
    gain = there.trial.mean_recall - best.trial.mean_recall
    loss = best.trial.accuracy - there.trial.accuracy
    better = gain > max(loss, 0) + 0.001
    reasons["class_weights"] = (
        f"{'balanced' if better else 'none'}: the largest class has {ratio:.1f} times the pictures of the smallest; "
        f"weighting all classes the same takes the held-out mean recall from {best.trial.mean_recall:.1%} to "
        f"{there.trial.mean_recall:.1%}, the accuracy from {best.trial.accuracy:.1%} to {there.trial.accuracy:.1%}"
    )
    return there if better else best


def _explain(trials: list[Trial], best: Trial, settings: HeadSettings, reasons: dict[str, str], warnings: list[str]) -> None:
    """Reasons for view, kind and strength, from the trials so far."""

    def least(some: list[Trial], name: str) -> str:
        losses: dict[str, float] = {}
        for trial in some:
            losses[getattr(trial, name)] = min(trial.log_loss, losses.get(getattr(trial, name), np.inf))
        return ", ".join(f"{key} {loss:.3f}" for key, loss in losses.items())

    logistic = [trial for trial in trials if trial.kind == "logistic"]
    views = [trial for trial in logistic if trial.transform == settings.transforms[0] and not trial.mirrored]
    same = ("view", "mirrored", "transform", "balanced")
    kinds = [trial for trial in trials if all(getattr(trial, name) == getattr(best, name) for name in same)]
    reasons["view"] = f"{best.view}: least held-out log loss on {best.pictures} pictures ({least(views, 'view')})"
    reasons["kind"] = f"{best.kind}: least held-out log loss ({least(kinds, 'kind')}; a blend wins within 2 %)"
    parts = []
    if best.kind in ("logistic", "blend"):
        tried = sorted({trial.strength for trial in logistic if trial.view == best.view})
        parts.append(f"L2 {best.strength:.3g}: least held-out log loss of {', '.join(f'{one:.3g}' for one in tried)}")
    if best.kind in ("discriminant", "blend"):
        ridges = sorted({trial.ridge for trial in trials if trial.kind == "discriminant"})
        parts.append(f"ridge {best.ridge:.3g}: least held-out log loss of {', '.join(f'{one:.3g}' for one in ridges)}")
    reasons["strength"] = "; ".join(parts) or "none: a nearest mean has no strength"
    ends = (min(settings.strengths), max(settings.strengths))
    if best.kind in ("logistic", "blend") and best.strength in ends and len(settings.strengths) > 1:
        warnings.append(
            f"the best L2 strength, {best.strength:.3g}, is the end of the range tried, {ends[0]:.3g} to {ends[1]:.3g}"
        )


def _of_neighbours(trial: Trial, beaten: Trial) -> dict[str, str]:
    """Reasons where k-nn beat the best of the heads that are fitted."""
    return {
        "kind": f"k-nn, {trial.neighbours} neighbours: held-out log loss {trial.log_loss:.3f}, {beaten.kind} "
        f"{beaten.log_loss:.3f}",
        "strength": "none: neighbours have no strength",
        "looks": "one: neighbours are compared by one look",
        "class_weights": "none: neighbours vote, whatever their class's number",
    }


def _head(best: Fit, ground: Ground) -> Head:
    trial = best.trial
    weight, bias = folded(best.data, best.weights)
    width = next(iter(ground.tables.values())).shape[1]
    columns = ground.columns[trial.view]
    return Head(trial.kind, trial.view, columns, width, ground.averaged, trial.transform, weight, bias)
