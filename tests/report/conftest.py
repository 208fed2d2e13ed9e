"""Facts of drawn classifiers, as complete as a fit writes them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topwork.heads.metrics import confusion, wilson

Facts = dict[str, Any]


def facts_of(labels: list[str], per_class: int = 20, seed: int = 0) -> Facts:
    """Every key the report knows, for a classifier of these classes that is right about nine times in ten."""
    rng = np.random.default_rng(seed)
    classes = len(labels)
    truth = np.repeat(np.arange(classes), per_class)
    said = np.where(rng.random(len(truth)) < 0.9, truth, rng.integers(0, classes, len(truth)))
    counts = confusion(said, truth, classes)
    right = int(np.trace(counts))
    low, high = wilson(right, len(truth))
    rows = []
    for place, label in enumerate(labels):
        recall = counts[place, place] / per_class
        ends = wilson(int(counts[place, place]), per_class)
        rows.append(
            {
                "label": label,
                "precision": 0.9,
                "recall": recall,
                "f1": 0.9,
                "n": per_class,
                "recall_low": ends[0],
                "recall_high": ends[1],
            }
        )
    wrong = np.flatnonzero(said != truth)
    mistakes = [
        {
            "path": f"/home/ann/photos/{labels[truth[i]]}/{i}.jpg",
            "label": labels[truth[i]],
            "predicted": labels[said[i]],
            "probability": 0.98,
        }
        for i in wrong
    ]
    cuts = np.linspace(0, 1, 16)
    bins = [
        {
            "low": float(a),
            "high": float(b),
            "confidence": float(a + b) / 2,
            "accuracy": float(a),
            "n": int(40 * b) if b > 0.5 else 0,
        }
        for a, b in itertools.pairwise(cuts)
    ]
    picture = f"/home/ann/photos/{labels[0]}/0.jpg"
    return {
        "name": "pets",
        "created": "2026-11-24T10:00:00Z",
        "topwork": "0.1.0",
        "classes": labels,
        "backbone": {
            "id": "lite0",
            "name": "tf_efficientnet_lite0",
            "licence": "Apache-2.0",
            "parameters": 4652008,
            "input_size": 224,
            "sha256": "ab" * 32,
        },
        "engine": {"name": "openvino", "precision": "f32", "reason": "openvino f32 183/s, torch 31/s"},
        "data": {
            "source": "photos/",
            "pictures": 3 * len(truth),
            "train": 2 * len(truth),
            "test": len(truth),
            "test_from": "given test folder",
        },
        "score": {
            "accuracy": right / len(truth),
            "accuracy_low": low,
            "accuracy_high": high,
            "n": len(truth),
            "ece": 0.011,
            "coverage": 0.95,
            "accuracy_answered": 0.93,
            "confusion": counts.tolist(),
            "per_class": rows,
            "reliability": bins,
            "mistakes": mistakes,
        },
        "cross_validation": {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94, "n": 2 * len(truth)},
        "calibration": {
            "calibrated": True,
            "temperature": 1.13,
            "ece_before": 0.03,
            "ece_after": 0.01,
            "reason": "temperature on held-out folds",
        },
        "strangers": {"threshold": 0.4, "kept": 0.95, "method": "distance to the nearest class mean"},
        "head": {"kind": "logistic", "view": "last", "mirrored": False, "transform": "none", "strength": 0.001},
        "trials": [
            {
                "view": view,
                "mirrored": False,
                "transform": "none",
                "kind": "logistic",
                "strength": 1e-3,
                "accuracy": 0.99,
                "log_loss": 0.03,
                "taken": view == "last",
            }
            for view in ("last", "last+stages")
        ],
        "reasons": {"view": "last 99.1 %, last+stages 98.9 %", "split": "a test folder was given"},
        "settings": {"seed": 0, "folds": 5},
        "warnings": [f"{labels[0]} has only 18 pictures."],
        "audit": {
            "pictures": 1800,
            "usable": 1798,
            "broken": [{"path": picture, "reason": "EMPTY", "detail": "0 bytes"}],
            "extension_mismatches": [{"path": picture, "detail": "a PNG"}],
            "duplicates": [[picture] * 5],
            "near_duplicates": [[picture, "/gone.jpg"]],
            "label_conflicts": [{"paths": [picture, picture], "labels": labels[:2]}],
            "leaks": [{"train": picture, "test": picture, "kind": "exact"}],
            "accuracy_with_leaks": 0.99,
            "accuracy_without_leaks": 0.985,
            "suspect_labels": [{"path": picture, "label": labels[0], "suggested": labels[1], "probability": 0.97}],
            "classes": [{"label": label, "n": 60 + place} for place, label in enumerate(labels)],
            "imbalance": 1.2,
            "small_classes": [labels[0]],
            "odd_sizes": [{"path": picture, "width": 10, "height": 900, "reason": "very long"}],
        },
        "timings": {"seconds": 13.2, "images_per_second": 150.0, "steps": {"decode and features": 10.1, "head": 0.6}},
        "machine": {"cpu": "a processor", "cores": 2, "python": "3.11.7", "versions": {"openvino": "2026.4.1"}},
    }


@pytest.fixture
def make_facts() -> Callable[..., Facts]:
    return facts_of


@pytest.fixture
def facts() -> Facts:
    return facts_of(["cat", "dog", "bird"])


@pytest.fixture
def thumbnails() -> Callable[[str], bytes | None]:
    """A drawn JPEG for every path but those that are gone."""
    stream = io.BytesIO()
    Image.new("RGB", (160, 120), (90, 140, 60)).save(stream, "JPEG")
    return lambda path: None if "gone" in path else stream.getvalue()
