"""Strangers: near classes never seen, far noise, near-copies, very small sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic import clustered

from topwork.errors import BundleError
from topwork.features.table import FeatureTable
from topwork.heads import strangers as module
from topwork.heads.metrics import auroc
from topwork.heads.search import search
from topwork.heads.strangers import Strangers, fit_strangers

VIEWS = {"all": slice(None)}


def fitted(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Strangers:
    groups = np.arange(len(labels)) if groups is None else groups
    table = FeatureTable.of(features)
    result = search(table, labels, groups, [str(index) for index in range(labels.max() + 1)], VIEWS)
    return fit_strangers(table, labels, groups, result.head, result.logits)


def test_unknown_classes_score_higher_and_own_pictures_are_kept() -> None:
    features, labels = clustered(1200, 60, 8, apart=1.5, directions=20)
    known = labels < 4
    train, own, other = known & (np.arange(1200) < 800), known & (np.arange(1200) >= 800), ~known
    strangers = fitted(features[train], labels[train])
    inside, outside = strangers.scores(features[own]), strangers.scores(features[other])
    positive = np.arange(len(inside) + len(outside)) >= len(inside)
    assert auroc(np.concatenate([inside, outside]), positive) > 0.9
    assert 0.9 < (inside <= strangers.threshold).mean() < 0.99
    assert 0.945 < strangers.kept < 0.96
    noise = np.random.default_rng(0).random((50, 60)).astype(np.float32)
    assert (strangers.scores(noise) > strangers.threshold).mean() > 0.9


def test_near_copies_do_not_tighten_the_threshold() -> None:
    features, labels = clustered(240, 40, 2, apart=1.0, directions=12)
    copies, groups = np.repeat(features[:120], 17, axis=0), np.repeat(np.arange(120), 17)
    copies = copies + np.random.default_rng(0).normal(size=copies.shape).astype(np.float32) * 1e-3
    honest = fitted(copies, np.repeat(labels[:120], 17), groups)
    assert len(honest.references) <= module.REFERENCES
    assert (honest.scores(features[120:]) <= honest.threshold).mean() > 0.85


def test_memory_is_bounded_and_every_class_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFERENCES", 60)
    features, labels = clustered(500, 30, 5, apart=1.0)
    labels = np.where(np.arange(500) < 480, labels % 4, 4)  # the last class is rare
    rows = module._stratified(labels, np.arange(500) // 3, 60, np.random.default_rng(0))
    assert len(rows) == len(set(rows.tolist())) == 60
    np.testing.assert_array_equal(np.bincount(labels[rows]), [12, 12, 12, 12, 12])
    assert len(np.unique(rows // 3)) > 50  # different groups before second copies
    strangers = fitted(features, labels)
    assert strangers.references.shape == (60, 30)
    assert strangers.scores(features).shape == (500,)


@pytest.mark.parametrize("pictures", [4, 20])
def test_very_few_pictures(pictures: int) -> None:
    features, labels = clustered(pictures, 30, 2, apart=2.0)
    strangers = fitted(features, labels)
    assert np.isfinite(strangers.scores(features)).all()
    assert np.isfinite(strangers.threshold)
    assert (strangers.scores(features) <= strangers.threshold).all()


def test_all_pictures_of_one_group() -> None:
    features, labels = clustered(6, 30, 2, apart=2.0)
    strangers = fitted(features, labels, np.zeros(6, np.int64))
    assert np.isfinite(strangers.scores(features)).all()


def test_round_trip_and_same_seed_same_bytes() -> None:
    features, labels = clustered(80, 30, 2, apart=1.0)
    first, second = fitted(features, labels), fitted(features, labels)
    assert first.references.tobytes() == second.references.tobytes()
    assert first.to_config() == second.to_config()
    again = Strangers.from_parts(json.loads(json.dumps(first.to_config())), first.to_tensors(), first.head)
    np.testing.assert_array_equal(again.scores(features), first.scores(features))
    assert again.threshold == first.threshold


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("centre", [0.1], "two finite numbers"),
        ("spread", [0.1, 0.0], "above 0"),
        ("threshold", float("nan"), "finite threshold"),
        ("references", 3, "expected shape"),
        ("strangers.references", np.full((20, 30), np.inf, np.float16), "not finite"),
    ],
)
def test_damaged_strangers_are_refused(part: str, value: object, text: str) -> None:
    features, labels = clustered(20, 30, 2, apart=2.0)
    strangers = fitted(features, labels)
    config, tensors = strangers.to_config(), strangers.to_tensors()
    (config if part in config else tensors)[part] = value
    with pytest.raises(BundleError, match=text):
        Strangers.from_parts(config, tensors, strangers.head)
