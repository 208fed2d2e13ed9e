"""Properties of the splits: whole groups, every class on both sides, even, repeatable, quick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.errors import InputError
from topwork.pictures.splits import Labels, grouped_folds, holdout


def drawn(seed: int, count: int, classes: int, group_size: int, mixed: bool) -> tuple[Labels, Labels]:
    """labels and groups of about `group_size`; a group is of one class, unless `mixed`."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, max(1, count // group_size), count)
    labels = rng.integers(0, classes, count) if mixed else groups % classes
    names = rng.permutation(10**6)[:count]  # any integers will do as group names
    return labels, names[groups] - 500_000


cases = st.builds(drawn, st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 7), st.integers(1, 9), st.booleans())


def whole(sides: Labels, groups: Labels) -> bool:
    pairs = np.unique(np.stack([groups, sides]), axis=1)
    return len(pairs[0]) == len(np.unique(groups))


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(2, 8), st.integers(0, 99))
def test_folds(case: tuple[Labels, Labels], folds: int, seed: int) -> None:
    labels, groups = case
    fold = grouped_folds(labels, groups, folds, seed)
    assert fold.shape == labels.shape
    assert fold.min() >= 0 and fold.max() < folds
    assert whole(fold, groups)
    np.testing.assert_array_equal(fold, grouped_folds(labels, groups, folds, seed))
    # Renaming the groups in the same order changes nothing.
    np.testing.assert_array_equal(fold, grouped_folds(labels, groups * 3 + 7, folds, seed))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 7), st.integers(1, 9), st.integers(2, 8))
def test_folds_are_even(seed: int, count: int, classes: int, group_size: int, folds: int) -> None:
    labels, groups = drawn(seed, count, classes, group_size, mixed=False)
    fold = grouped_folds(labels, groups, folds, seed)
    for label in np.unique(labels):
        mine = labels == label
        largest = np.unique(groups[mine], return_counts=True)[1].max()
        spread = np.ptp(np.bincount(fold[mine], minlength=folds))
        assert spread <= largest  # the best that dealing whole groups promises; 1 for single pictures


def test_single_pictures_are_dealt_evenly_in_all() -> None:
    labels = np.repeat(np.arange(40), 7)  # 40 classes of 7: each alone leaves a remainder
    fold = grouped_folds(labels, np.arange(280), 5)
    assert np.ptp(np.bincount(fold)) <= 1
    assert len({tuple(fold[labels == label]) for label in range(40)}) > 10
    assert not np.array_equal(fold, grouped_folds(labels, np.arange(280), 5, seed=1))
    assert grouped_folds(labels[:0], labels[:0], 5).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(cases, st.floats(0.05, 0.9), st.integers(0, 99))
def test_holdout(case: tuple[Labels, Labels], share: float, seed: int) -> None:
    labels, groups = case
    names = [f"c{label}" for label in range(int(labels.max()) + 1)]
    groups_of = [len(np.unique(groups[labels == label])) for label in range(len(names))]
    if min(groups_of) < 2:
        with pytest.raises(InputError, match="too few pictures to hold any out"):
            holdout(labels, groups, names, share, seed)
        return
    held = holdout(labels, groups, names, share, seed)
    assert whole(held.astype(np.int64), groups)
    np.testing.assert_array_equal(held, holdout(labels, groups, names, share, seed))
    pure = all(len(np.unique(labels[groups == group])) == 1 for group in np.unique(groups))
    for label in range(len(names)):
        mine = labels == label
        assert not held[mine].all()
        if pure:
            largest = np.unique(groups[mine], return_counts=True)[1].max()
            assert held[mine].any()
            assert abs(held[mine].sum() - share * mine.sum()) <= largest


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.7])
def test_the_share_is_what_was_asked_for(share: float) -> None:
    labels = np.repeat([0, 1, 2], [500, 100, 40])
    held = holdout(labels, np.arange(640), ["a", "b", "c"], share)
    for label, count in enumerate((500, 100, 40)):
        assert abs(held[labels == label].sum() - share * count) <= 1
    with pytest.raises(ValueError, match="0 < share < 1"):
        holdout(labels, np.arange(640), ["a", "b", "c"], 1.0)


def test_small_classes_stand_on_both_sides() -> None:
    labels = np.repeat([0, 1, 2, 3], [100, 2, 3, 4])
    for seed in range(5):
        held = holdout(labels, np.arange(109), list("abcd"), 0.1, seed)
        assert held[labels == 1].sum() == held[labels == 2].sum() == held[labels == 3].sum() == 1


def test_a_group_of_two_classes_is_not_torn_to_help_one_of_them() -> None:
    # b has a group of its own and shares the other with a.
    labels = np.array([0] * 20 + [1] * 10 + [0, 1])
    groups = np.array([*range(20), *[50] * 10, 99, 99])
    for seed in range(10):
        held = holdout(labels, groups, ["a", "b"], 0.2, seed)
        assert whole(held.astype(np.int64), groups)
        assert 0 < held[labels == 1].sum() < 11


def test_no_class_loses_all_its_training_pictures_where_groups_tie_classes_together() -> None:
    rng = np.random.default_rng(0)
    held_none = tried = 0
    for seed in range(600):
        labels, groups = rng.integers(0, 3, 9), rng.integers(0, 4, 9)
        if min(len(np.unique(groups[labels == label])) for label in range(3)) < 2:
            continue
        held = holdout(labels, groups, ["a", "b", "c"], float(rng.choice([0.1, 0.4, 0.8])), seed)
        assert whole(held.astype(np.int64), groups)
        assert all(not held[labels == label].all() for label in range(3))
        held_none += sum(not held[labels == label].any() for label in range(3))
        tried += 3
    assert tried > 500
    assert held_none < tried / 10  # where classes are tied in a ring it cannot be none


def test_classes_with_one_group_are_named_together() -> None:
    with pytest.raises(InputError, match=r"b \(3\), d \(0\)\. Expected at least 2 different pictures"):
        holdout(np.array([0, 0, 1, 1, 1, 2, 2]), np.array([1, 2, 3, 3, 3, 4, 5]), ["a", "b", "c", "d"])


def test_twenty_thousand_in_groups_of_seventeen_and_a_million_alone() -> None:
    labels, groups = drawn(0, 20_000, 10, 17, mixed=True)
    assert whole(grouped_folds(labels, groups, 5), groups)
    count = 10**6
    labels = np.random.default_rng(0).integers(0, 100, count)
    fold = grouped_folds(labels, np.arange(count), 5)
    counts = np.bincount(labels * 5 + fold).reshape(100, 5)
    assert np.ptp(counts, axis=1).max() <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    held = holdout(labels, np.arange(count), [str(label) for label in range(100)], 0.2)
    assert abs(held.mean() - 0.2) < 0.001
