from __future__ import annotations

import numpy as np
import pytest

from topwork.finetune.comparing import compare, decided, mcnemar, sentence
from topwork.heads.metrics import wilson


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 5), (9, 2), (0, 12), (40, 21), (3, 90)])
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def answers(right: np.ndarray, sure: float) -> np.ndarray:
    """(n, 2) probabilities of pictures of class 0, right where told."""
    return np.where(right[:, None], (sure, 1 - sure), (1 - sure, sure)).astype(np.float32)


def test_a_comparison_counts_the_same_pictures() -> None:
    before = np.array([1, 1, 1, 0, 0, 1, 0, 1], bool)
    after = np.array([1, 1, 0, 1, 1, 1, 1, 1], bool)
    found = compare(answers(before, 0.9), answers(after, 0.9), np.zeros(8, np.int64))
    assert (found.gained, found.lost, found.n) == (3, 1, 8)
    assert (found.before, found.after) == (5 / 8, 7 / 8)
    assert (found.before_low, found.before_high) == wilson(5, 8)
    assert (found.after_low, found.after_high) == wilson(7, 8)
    assert found.loss_before > found.loss_after
    assert "3 gained, 1 lost" in sentence(found, True) and sentence(found, False).startswith("fine-tuning did not help: 62.5 %")


def test_the_sentence_claims_no_more_than_the_test_shows() -> None:
    labels = np.zeros(40, np.int64)
    few, some, most = (np.arange(40) < right for right in (20, 22, 36))
    assert sentence(compare(answers(few, 0.9), answers(most, 0.9), labels), True).startswith("fine-tuning helped: 50.0 %")
    harmed = sentence(compare(answers(most, 0.9), answers(few, 0.9), labels), True)
    assert harmed.startswith("fine-tuning helped on validation pictures, but harmed on the test: 90.0 %")
    for after in (some, few):  # too little to tell; worse
        said = sentence(compare(answers(some if after is few else few, 0.9), answers(after, 0.9), labels), True)
        assert said.startswith("fine-tuning helped on validation pictures, the test cannot tell: ")


def test_what_is_not_clearly_better_is_not_taken() -> None:
    labels = np.zeros(200, np.int64)
    most = np.arange(200) % 20 > 0
    more = np.arange(200) % 40 > 0
    assert decided(compare(answers(most, 0.9), answers(more, 0.9), labels))[0]
    assert not decided(compare(answers(more, 0.9), answers(most, 0.9), labels))[0]
    assert not decided(compare(answers(most, 0.9), answers(most, 0.9), labels))[0]
    other = np.roll(most, 1)  # other pictures, no more of them
    assert not decided(compare(answers(most, 0.9), answers(other, 0.9), labels))[0]
    surer = compare(answers(most, 0.8), answers(more[::-1] & ~most | most, 0.6), labels)
    assert surer.after > surer.before and not decided(surer)[0]
