from __future__ import annotations

import numpy as np
import pytest

from topwork.finetune.comparing import BOUNDS, compare, decided, mcnemar, sentence
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

    def verdict(before: np.ndarray, after: np.ndarray, looks: int = 1) -> str:
        return decided(compare(answers(before, 0.9), answers(after, 0.9), labels), looks)[0]

    assert verdict(most, more) == "yes"
    assert verdict(more, most) == verdict(most, most) == "no"
    assert verdict(most, np.roll(most, 1)) == "no"  # other pictures, no more of them
    surer = compare(answers(most, 0.8), answers(more[::-1] & ~most | most, 0.6), labels)
    assert surer.after > surer.before and decided(surer)[0] == "no"
    # Five of two hundred gained are 2.25 standard errors: enough for one look, not for one of five.
    assert verdict(most, more, looks=5) == "doubt"


def test_chance_gets_past_no_number_of_looks_more_often_than_one_time_in_twenty() -> None:
    """Pocock's bounds, by simulation: sums of normal noise looked at after each of `looks` equal parts."""
    noise = np.random.default_rng(0).standard_normal((40_000, 5))
    for looks, bound in BOUNDS.items():
        scores = noise[:, :looks].cumsum(1) / np.sqrt(np.arange(1, looks + 1))
        assert (np.abs(scores) > bound).any(1).mean() == pytest.approx(0.05, abs=0.004)
