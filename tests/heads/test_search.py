"""The search on toy features whose best choices are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import clustered

from topwork.errors import BundleError
from topwork.features import table as tables
from topwork.features.table import FeatureTable
from topwork.heads import designs
from topwork.heads.head import Head
from topwork.heads.metrics import accuracy, softmax
from topwork.heads.neighbours import read_head
from topwork.heads.search import HeadSettings, Search, search
from topwork.heads.suspects import suspect_labels

VIEWS = {"good": slice(0, 40), "bad": np.arange(40, 60)}


def toy(pictures: int = 200, classes: int = 3, seed: int = 0, apart: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    features, labels = clustered(pictures, 40, classes, seed, apart, directions=12)
    noise = np.random.default_rng(seed + 1).random((pictures, 20)).astype(np.float32)
    return np.concatenate([features, noise], axis=1), labels


def found(features: np.ndarray, labels: np.ndarray, **change: object) -> Search:
    names = [f"class {index}" for index in range(int(labels.max()) + 1)]
    arguments = {"groups": np.arange(len(labels)), "views": VIEWS, "settings": HeadSettings()} | change
    return search(FeatureTable.of(features), labels, classes=names, **arguments)  # type: ignore[arg-type]


def test_the_view_with_the_news_wins_and_the_head_generalises() -> None:
    features, labels = toy(400, apart=0.8)
    result = found(features[:200], labels[:200])
    assert result.head.view == "good"
    assert abs(accuracy(result.head.logits(features[200:]), labels[200:]) - accuracy(result.logits, labels[:200])) < 0.1
    assert accuracy(result.logits, labels[:200]) > 0.7
    assert set(result.reasons) == {"view", "transform", "kind", "strength", "looks", "class_weights", "calibration"}
    assert result.reasons["looks"] == "one: mirror images were not offered"
    assert result.head.temperature == result.calibration.temperature
    assert {trial.kind for trial in result.trials} == {"logistic", "discriminant", "blend", "nearest mean", "k-nn"}


@pytest.mark.parametrize("kind", ["logistic", "discriminant", "blend"])
def test_out_of_fold_logits_come_from_heads_that_did_not_see_the_picture(kind: str) -> None:
    features, labels = toy(150, apart=0.3)
    result = found(features, labels, settings=HeadSettings(kinds=(kind,)))
    assert result.head.kind == kind
    random = np.random.default_rng(0).integers(0, 3, 150)
    random[:3] = [0, 1, 2]
    guess = found(features, random, settings=HeadSettings(kinds=(kind,)))
    assert accuracy(guess.logits, random) < 0.5  # labels of pure chance cannot be known in advance
    assert accuracy(guess.head.logits(features), random) > accuracy(guess.logits, random) + 0.05


def test_same_seed_same_bytes() -> None:
    features, labels = toy()
    first, second = found(features, labels), found(features, labels)
    for name, value in first.head.to_tensors().items():
        assert value.tobytes() == second.head.to_tensors()[name].tobytes()
    assert first.logits.tobytes() == second.logits.tobytes()
    assert first.head.to_config() == second.head.to_config()


def test_mirror_images_are_made_only_where_there_is_something_to_gain() -> None:
    features, labels = toy(apart=3.0)
    calls = []

    def mirrored() -> FeatureTable:
        calls.append(1)
        return FeatureTable.of(features)

    easy = found(features, labels, second_look=mirrored)
    assert not calls
    assert easy.reasons["looks"].startswith("one: ")
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, *features.shape)).astype(np.float32) * 2
    first, second = features + noise[0], features + noise[1]

    def helpful() -> FeatureTable:
        calls.append(1)
        return FeatureTable.of(second)

    result = found(first, labels, second_look=helpful)
    assert calls == [1]
    assert result.head.mirrored
    assert result.reasons["looks"].startswith("two, averaged")
    assert result.logits.shape == (len(labels), 3)
    one = found(first, labels)
    assert accuracy(result.logits, labels) > accuracy(one.logits, labels)


def test_a_second_look_that_tells_nothing_new_is_left_out_of_answers() -> None:
    features, labels = toy(apart=0.3)
    result = found(features, labels, second_look=lambda: FeatureTable.of(features))
    assert not result.head.mirrored


def test_two_classes_of_two_pictures() -> None:
    features, labels = toy(4, 2, apart=3.0)
    result = found(features, labels)
    assert np.isfinite(result.logits).all()
    assert np.isfinite(result.head.probs(features)).all()
    assert (result.head.logits(features).argmax(1) == labels).all()
    assert result.calibration.reason == "not calibrated: 4 pictures, need 50"


@pytest.mark.parametrize("pictures", [20, 21])
def test_twenty_pictures(pictures: int) -> None:
    features, labels = toy(pictures, 2, apart=2.0)
    result = found(features, labels, second_look=lambda: FeatureTable.of(features))
    assert accuracy(result.logits, labels) > 0.8
    assert np.isfinite(result.head.probs(features)).all()


def test_a_class_of_one_picture_is_told() -> None:
    features, labels = toy(30, 2, apart=2.0)
    labels[-1] = 2
    result = found(features, labels)
    assert result.warnings[0].startswith("class 2: fewer than 2 different pictures")
    assert np.isfinite(result.logits).all()


def test_features_without_any_news() -> None:
    result = found(np.ones((12, 60), np.float32), np.arange(12) % 2)
    assert np.isfinite(result.logits).all()
    assert np.isfinite(result.head.probs(np.zeros((2, 60), np.float32))).all()


def test_the_end_of_the_range_is_told() -> None:
    features, labels = toy()
    result = found(features, labels, settings=HeadSettings(strengths=(1e3, 1e4, 1e5, 1e6), kinds=("logistic",)))
    assert any("end of the range" in text for text in result.warnings)


def test_near_copies_do_not_make_it_look_better() -> None:
    features, labels = toy(40, 4, apart=0.15)
    rng = np.random.default_rng(0)
    copies = np.repeat(features, 17, axis=0)
    copies += rng.normal(size=copies.shape).astype(np.float32) * 1e-3
    groups = np.repeat(np.arange(40), 17)
    honest = found(copies, np.repeat(labels, 17), groups=groups)
    fooled = found(copies, np.repeat(labels, 17))
    assert accuracy(fooled.logits, np.repeat(labels, 17)) > 0.99
    assert accuracy(honest.logits, np.repeat(labels, 17)) < 0.8


def test_unequal_classes_get_equal_weights_where_it_pays() -> None:
    features, labels = toy(600, 2, apart=0.15)
    keep = np.flatnonzero((labels == 0) | (np.arange(600) % 20 == 1))
    result = found(features[keep], labels[keep])
    assert result.reasons["class_weights"].split(":")[0] in ("balanced", "none")
    assert "mean recall" in result.reasons["class_weights"]
    assert any(trial.balanced for trial in result.trials)
    equal = found(features, labels)
    assert equal.reasons["class_weights"] == "none: the largest class has 1.0 times the pictures of the smallest"


def test_large_sets_are_chosen_on_a_sample_and_fitted_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = toy(900)
    chosen = found(features, labels, settings=HeadSettings(screen_pictures=200))
    assert {trial.pictures for trial in chosen.trials} == {180, 900}
    assert "on all 900 pictures" in chosen.reasons["kind"]
    whole = found(features, labels)
    assert abs(accuracy(chosen.logits, labels) - accuracy(whole.logits, labels)) < 0.03
    # The same from a scratch file, block by block.
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 100 * 60 * 4)
    monkeypatch.setattr(designs, "CACHE_BYTES", 300 * 60 * 4)
    blocks = found(features, labels, settings=HeadSettings(screen_pictures=200))
    assert (blocks.head.view, blocks.head.kind) == (chosen.head.view, chosen.head.kind)
    np.testing.assert_allclose(blocks.head.probs(features), chosen.head.probs(features), atol=0.02)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 9), st.booleans(), st.sampled_from(["none", "sqrt"]))
def test_head_round_trip(seed: int, classes: int, width: int, mirrored: bool, transform: str) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(classes, width)).astype(np.float32), rng.normal(size=classes).astype(np.float32)
    head = Head("blend", "last", rng.permutation(20)[:width], 20, mirrored, transform, weight, bias, float(rng.uniform(0.1, 9)))
    again = Head.from_parts(json.loads(json.dumps(head.to_config())), head.to_tensors())
    features = rng.normal(size=(5, 20)).astype(np.float32)
    np.testing.assert_array_equal(again.probs(features), head.probs(features))
    assert again.to_config() == head.to_config()


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("head.weight", np.zeros((2, 3), np.float32), "expected shape"),
        ("head.weight", np.full((2, 4), np.nan, np.float32), "not finite"),
        ("head.bias", None, "missing"),
        ("head.columns", np.array([0, 1, 2, 60]), "expected values in 0..59"),
        ("head.columns", np.zeros(4, np.float32), "expected shape"),
        ("temperature", 0.0, "above 0"),
        ("temperature", "warm", "expected int or float"),
        ("transform", "cube", "expected transform"),
        ("mirrored", 1, "expected bool"),
        ("classes", True, "expected int"),
    ],
)
def test_damaged_heads_are_refused(part: str, value: object, text: str) -> None:
    head = Head("logistic", "v", np.arange(4), 60, False, "none", np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
    config, tensors = head.to_config(), head.to_tensors()
    if part in config:
        config[part] = value
    elif value is None:
        del tensors[part]
    else:
        tensors[part] = value  # type: ignore[assignment]
    with pytest.raises(BundleError, match=text):
        Head.from_parts(config, tensors)


def test_wrong_width_is_told() -> None:
    head = Head("logistic", "v", np.arange(4), 60, False, "none", np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"expected features \(N, 60\), got \(1, 4\)"):
        head.logits(np.zeros((1, 4), np.float32))


def test_settings_are_values() -> None:
    assert replace(HeadSettings(), seed=3) == HeadSettings(seed=3)


def test_flipped_labels_are_found_from_out_of_fold_answers() -> None:
    features, truth = toy(600, 4, apart=3.0)
    rng = np.random.default_rng(0)
    flipped = set(rng.permutation(600)[:30].tolist())  # 5 %
    labels = np.array([(label + 1 + row % 3) % 4 if row in flipped else label for row, label in enumerate(truth)])
    result = found(features, labels)
    rows = {one.row for one in suspect_labels(softmax(result.logits, result.head.temperature), labels)}
    assert len(rows & flipped) >= 0.8 * len(flipped)  # recall
    assert len(rows & flipped) >= 0.8 * len(rows)  # precision


def test_neighbours_win_where_classes_are_scattered_and_come_back_from_a_bundle() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 40)) * 3
    place = np.repeat(np.arange(12), 12)
    features = (centres[place] + rng.standard_normal((144, 40)) * 0.4).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 1, 0, 2])[place]
    kinds = ("logistic", "k-nn")
    result = found(features, labels, views={"all": slice(0, 40)}, settings=HeadSettings(kinds=kinds, strengths=(1e5, 1e6)))
    assert result.head.kind == result.trial.kind == "k-nn" and result.trial in result.trials
    assert result.reasons["strength"].startswith("none") and "logistic" in result.reasons["kind"]
    assert accuracy(result.logits, labels) > 0.95
    again = read_head(result.head.to_config(), result.head.to_tensors())
    np.testing.assert_array_equal(again.probs(features), result.head.probs(features))
    with pytest.raises(BundleError, match="do not fit"):
        read_head(result.head.to_config() | {"neighbours": 0}, result.head.to_tensors())


def test_a_nearest_mean_is_tried_and_wins_nothing_it_should_not() -> None:
    features, labels = toy(30, 3, apart=2.0)
    result = found(features, labels)
    kinds = {trial.kind: trial.log_loss for trial in result.trials}
    assert {"nearest mean", "k-nn"} <= set(kinds)
    assert min(trial.log_loss for trial in result.trials) >= 0
