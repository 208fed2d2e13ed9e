"""Which picture goes where: stratified, seeded, and never apart from its near-copies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topwork.errors import InputError

Labels = NDArray[np.int64]
Weights = NDArray[np.float64]


def grouped_folds(labels: Labels, groups: Labels, folds: int, seed: int = 0) -> Labels:
    """Fold of every picture (N,), 0..folds-1: classes spread evenly, a group never torn apart.

    labels (N,) class indices; groups (N,) any integers, equal for pictures that must stay together.
    Groups are dealt largest first (order within a size drawn by `seed`), each to the fold that has the fewest
    pictures of the group's commonest class, then the fewest pictures at all.
    """
    return _deal(labels, groups, np.full(folds, 1 / folds), seed)


def holdout(labels: Labels, groups: Labels, classes: list[str], share: float = 0.2, seed: int = 0) -> NDArray[np.bool_]:
    """True (N,) for the pictures held out for the test: about `share` of every class, whole groups only.

    Every class stands on both sides; only where near-copies tie classes together so that it cannot, one may be missing
    from the test. Raises InputError naming each class whose pictures form fewer than two groups.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected 0 < share < 1, got {share}")
    _, group_of = np.unique(groups, return_inverse=True)
    group_count = int(group_of.max()) + 1 if len(labels) else 0
    # Each (class, group) pair that occurs, once, with its number of pictures.
    pairs, sizes = np.unique(labels * group_count + group_of, return_counts=True)
    pair_class, pair_group = pairs // max(group_count, 1), pairs % max(group_count, 1)
    pictures = np.bincount(labels, minlength=len(classes))
    in_groups = np.bincount(pair_class, minlength=len(classes))
    short = [f"{name} ({pictures[index]})" for index, name in enumerate(classes) if in_groups[index] < 2]
    if short:
        raise InputError(
            f"too few pictures to hold any out for a test: {', '.join(short)}. Expected at least 2 different pictures "
            "in every class (near-copies count once). Add pictures, or leave the class out."
        )
    held_group = np.zeros(group_count, bool)
    held_group[group_of[_deal(labels, groups, np.array([share, 1 - share]), seed) == 0]] = True
    bounds = np.searchsorted(pair_class, np.arange(len(classes) + 1))
    kept = in_groups - np.bincount(pair_class[held_group[pair_group]], minlength=len(classes))  # groups left for training
    for index in range(len(classes)):
        mine = slice(bounds[index], bounds[index + 1])
        own = pair_group[mine][np.argsort(sizes[mine], kind="stable")]  # the class's groups, smallest first
        if kept[index] == 0:
            _move(held_group, kept, own[-1], pair_class[pair_group == own[-1]], held=False)
        elif not held_group[own].any():
            for group in own:
                touched = pair_class[pair_group == group]
                if (kept[touched] > 1).all():
                    _move(held_group, kept, group, touched, held=True)
                    break
    return held_group[group_of]


def _move(held_group: NDArray[np.bool_], kept: Labels, group: int, touched: Labels, held: bool) -> None:
    held_group[group] = held
    kept[touched] += -1 if held else 1


def _deal(labels: Labels, groups: Labels, weights: Weights, seed: int) -> Labels:
    """Fold of every picture (N,): fold f gets about weights[f] of every class, a group never torn apart."""
    if not len(labels):
        return np.zeros(0, np.int64)
    rng = np.random.default_rng(seed)
    folds, classes = len(weights), int(labels.max()) + 1
    _, group_of = np.unique(groups, return_inverse=True)
    by_group = np.argsort(group_of, kind="stable")
    grouped = labels[by_group]
    starts = np.flatnonzero(np.r_[True, np.diff(group_of[by_group]) > 0])
    sizes = np.diff(np.r_[starts, len(labels)])
    # Where to start is drawn per class, so that small classes do not all land in fold 0.
    turns = (np.arange(folds) - rng.integers(0, folds, size=(classes, 1))) % folds
    order = rng.permutation(len(starts))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.zeros(len(starts), np.int64)
    # Plain lists: the larger groups are dealt one by one, and numpy is slow at single numbers.
    per_class = [[0] * folds for _ in range(classes)]
    total, share, turn = [0] * folds, weights.tolist(), turns.tolist()
    pure = np.minimum.reduceat(grouped, starts) == np.maximum.reduceat(grouped, starts)
    several = order[sizes[order] > 1]
    for group, start, size, simple in zip(
        several.tolist(), starts[several].tolist(), sizes[several].tolist(), pure[several].tolist(), strict=True
    ):
        members = None if simple else np.bincount(grouped[start : start + size], minlength=classes)
        label = int(grouped[start]) if members is None else int(members.argmax())
        fold = _neediest(per_class[label], total, share, turn[label], size)
        fold_of_group[group] = fold
        total[fold] += size
        if members is None:
            per_class[label][fold] += size
        else:
            for other in np.flatnonzero(members).tolist():
                per_class[other][fold] += int(members[other])
    single = order[sizes[order] == 1]
    label_of = grouped[starts[single]]
    single = single[np.argsort(label_of, kind="stable")]  # by class, in drawn order within it
    for label, part in enumerate(np.split(single, np.cumsum(np.bincount(label_of, minlength=classes))[:-1])):
        given = _fill(len(part), per_class[label], total, share, turn[label])
        fold_of_group[part] = np.repeat(np.arange(folds), given)
    return fold_of_group[group_of]


def _neediest(mine: list[int], total: list[int], share: list[float], turn: list[int], size: int) -> int:
    """The fold that a group of `size` pictures fits best: by its class, then by all pictures, then by turn."""
    return min(range(len(mine)), key=lambda f: ((mine[f] + size / 2) / share[f], total[f] / share[f], turn[f]))


def _fill(count: int, mine: list[int], total: list[int], share: list[float], turn: list[int]) -> list[int]:
    """How many of `count` single pictures of one class each fold gets; `mine` and `total` are brought up to date."""
    # The level to which folds fill up if pictures could be cut; nearly all are given at once, the last few one by one.
    level, poured, width = 0.0, float(count), 0.0
    for fold in sorted(range(len(mine)), key=lambda f: mine[f] / share[f]):
        if width and level <= mine[fold] / share[fold]:
            break
        poured, width = poured + mine[fold], width + share[fold]
        level = poured / width
    given = [max(0, int(level * share[f]) - mine[f] - 1) for f in range(len(mine))]
    for fold, number in enumerate(given):
        mine[fold] += number
        total[fold] += number
    for _ in range(count - sum(given)):
        fold = _neediest(mine, total, share, turn, 1)
        given[fold] += 1
        mine[fold] += 1
        total[fold] += 1
    return given
