"""Claims about quality, on real photos: right answers, honest probabilities, and the test never looked at to choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topwork import Classifier
from topwork.heads.metrics import expected_calibration_error, softmax

pytestmark = [pytest.mark.photos, pytest.mark.usefixtures("warm")]


@pytest.mark.parametrize(
    ("name", "accuracy", "ece"),
    [("cats-vs-dogs", 0.98, 0.02), pytest.param("pets37", 0.90, 0.05, marks=pytest.mark.full), ("eurosat", 0.945, 0.04)],
)
def test_right_and_sure_for_good_reason(name: str, accuracy: float, ece: float, photos: Path) -> None:
    """N6: the probabilities mean what they say, and calibrating changed no answer."""
    classifier = Classifier.fit(photos / name / "train", test=photos / name / "test")
    score = classifier.facts["score"]
    assert score["accuracy"] >= accuracy
    assert score["accuracy_low"] < score["accuracy"] < score["accuracy_high"]
    assert score["ece"] <= ece
    with_labels = [(path, folder.name) for folder in sorted((photos / name / "test").iterdir()) for path in folder.iterdir()]
    labels = np.array([classifier.classes.index(label) for _, label in with_labels])
    probs = classifier.predict([path for path, _ in with_labels], always_answer=True).probs
    uncalibrated = softmax(np.log(probs) * classifier.head.temperature)
    assert (uncalibrated.argmax(1) == probs.argmax(1)).all()
    assert expected_calibration_error(probs, labels) <= max(0.03, expected_calibration_error(uncalibrated, labels))


def test_shuffled_labels_are_not_learned(photos: Path) -> None:
    """Where there is nothing to learn the score says so: no leak from the test, none between folds."""
    files = sorted((photos / "eurosat" / "train").glob("*/*"))[::6]
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(len(files)) % 2)
    classifier = Classifier.fit([(file, "odd" if label else "even") for file, label in zip(files, labels, strict=True)])
    low, high = classifier.facts["score"]["accuracy_low"], classifier.facts["score"]["accuracy_high"]
    assert low <= 0.5 <= high
    assert classifier.facts["cross_validation"]["accuracy"] < 0.62
