from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.errors import InputError
from topwork.pictures.splits import grouped_folds, holdout


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(20, 120), st.integers(1, 4))
def test_groups_stay_together_and_folds_are_even(seed: int, folds: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    groups = rng.integers(0, count, count)
    fold = grouped_folds(labels, groups, folds, seed)
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    np.testing.assert_array_equal(fold, grouped_folds(labels, groups, folds, seed))
    single = grouped_folds(labels, np.arange(count), folds, seed)
    for label in range(classes):
        counts = np.bincount(single[labels == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_holdout_keeps_every_class_on_both_sides() -> None:
    labels = np.repeat([0, 1, 2], [50, 3, 2])
    held = holdout(labels, np.arange(55), ["a", "b", "c"])
    for label in range(3):
        assert 0 < held[labels == label].sum() < (labels == label).sum()
    with pytest.raises(InputError, match=r"c \(2\)"):
        holdout(labels, np.r_[np.arange(53), 99, 99], ["a", "b", "c"])
