"""From labelled pictures to a classifier: features, copies, split, head, strangers, score; every choice with its reason."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topwork import __version__, runtime
from topwork.answers import Score, score_answers
from topwork.classifier import Classifier, averaged, extract_for, second_looks
from topwork.copies import Copies, find_copies
from topwork.errors import InputError, UnknownName
from topwork.features.choose import Chosen, Sample, open_engine
from topwork.features.extract import Extraction, Progress
from topwork.features.table import FeatureTable
from topwork.findings import Audit, audit_table
from topwork.heads.metrics import softmax, wilson
from topwork.heads.search import HeadSettings, Search, search
from topwork.heads.strangers import fit_strangers
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.pictures.records import Records, need_classes
from topwork.pictures.sources import Pictures, labelled_records
from topwork.pictures.splits import holdout

CHECKED_WITH = 8
"""Pictures that engines are measured and checked with."""


@dataclass(frozen=True)
class FitSettings:
    """How a classifier is made."""

    backbone: str = "lite0"
    """lite0 or another short name, timm:NAME, or keras:NAME."""
    weights: str = "pretrained"
    """pretrained, random (for tests of speed), or a file: safetensors or a torch state dict."""
    engine: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the backbone; auto measures once and remembers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where torch runs."""
    test_share: float = 0.2
    """Share of each class held out for the test where no test pictures are given."""
    seed: int = 0
    """Draws the split and the folds."""
    store: bool = True
    """Keep embeddings, so that the next fit need not make them again."""


@dataclass(frozen=True)
class Read:
    """Pictures read and looked through: what both fit and audit begin with."""

    chosen: Chosen
    found: Extraction
    copies: Copies
    test: NDArray[np.bool_]
    """(N,) which usable pictures are for the test."""
    split_reason: str
    seconds: dict[str, float]
    test_source: str | None = None
    """Where the test pictures were given by themselves: from where."""


def fit(
    pictures: Pictures,
    *,
    labels: Sequence[str] | None = None,
    test: Pictures = None,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Classifier:
    """A classifier of labelled pictures: a folder, a CSV, (picture, label) pairs, or pictures with `labels`.

    test: labelled pictures for the score; without it, those given as test/ beside train/, else a part held out. The test is
    never looked at to choose anything. `changes` are settings by name: fit(folder, backbone="timm:resnet50").
    Raises InputError, UnknownName, WeightsError, StorageError.
    """
    start = time.perf_counter()
    settings = _checked(settings, changes)
    with labelled_records(pictures, labels) as train:
        if test is None:
            return _fit(_read(train, settings, progress), settings, start, progress)
        with labelled_records(test) as given:
            seen = replace(_read(joined(train, given), settings, progress), test_source=given.source)
            return _fit(seen, settings, start, progress)


def audit(
    pictures: Pictures, *, settings: FitSettings | None = None, progress: Progress | None = None, **changes: Any
) -> Audit:
    """What is wrong with labelled pictures: see `topwork.findings`. Raises InputError."""
    settings = _checked(settings, changes)
    with labelled_records(pictures) as records:
        seen = _read(records, settings, progress, split=False)
        train = np.flatnonzero(~seen.test)
        labels = seen.found.records.labels
        if len(np.unique(labels[train])) < 2:
            return audit_table(seen.found, seen.copies)
        chosen = _search(seen, train, settings, None)
        result = audit_table(seen.found, seen.copies, softmax(chosen.logits, chosen.head.temperature), train)
        if seen.test.any():
            rows = np.flatnonzero(seen.test)
            table = _table(seen, rows, chosen.head.mirrored, settings)
            answers = np.concatenate([chosen.head.logits(block).argmax(1) for _, block in table.blocks()])
            result = _with_leaks(result, seen, rows, answers == labels[rows])
        return result


def _checked(settings: FitSettings | None, changes: dict[str, Any]) -> FitSettings:
    known = FitSettings.__dataclass_fields__
    for name in changes:
        if name not in known:
            raise UnknownName("setting", name, known)
    settings = replace(settings or FitSettings(), **changes)
    if not 0 < settings.test_share < 1:
        raise InputError(f"test_share: expected a share between 0 and 1, got {settings.test_share}.")
    if settings.seed < 0:
        raise InputError(f"seed: expected 0 or more, got {settings.seed}.")
    return settings


def joined(train: Records, test: Records) -> Records:
    """One table of both, split as named. Raises InputError when the test has a class that the training pictures have not."""
    chosen = test.of_split("test") if any(row.split == "test" for row in test) else test
    unknown = sorted({row.label or "" for row in chosen} - set(train.classes))
    if unknown:
        raise InputError(
            f"{test.source}: classes that {train.source} does not have: {', '.join(unknown[:8])}. "
            f"Expected some of: {', '.join(train.classes[:12])}. Rename these folders, or leave them out."
        )
    rows = [replace(row, split="train") for row in train if row.split != "test"]
    rows += [replace(row, split="test") for row in chosen]
    return replace(train, rows=tuple(rows), notes=(*train.notes, *test.notes))


def _read(records: Records, settings: FitSettings, progress: Progress | None, split: bool = True) -> Read:
    if split:
        need_classes(records, 1)
    seconds = {}
    began = time.perf_counter()

    chosen = open_engine(settings.backbone, settings.weights, settings.engine, settings.device, sample_of(records))
    seconds["engine"] = time.perf_counter() - began
    found = extract_for(chosen.spec, chosen.engine, records, settings.store, progress)
    seconds["decode and features"] = found.seconds
    if not len(found.records):
        told = "; ".join(f"{bad['path']}: {bad['reason']}: {bad['detail']}" for bad in found.broken[:3])
        more = f"; and {len(found.broken) - 3} more" if len(found.broken) > 3 else ""
        raise InputError(
            f"{records.source}: none of its {len(records)} pictures could be used: {told}{more}. "
            "Expected JPEG, PNG, WebP, BMP, GIF or TIFF files."
        )
    given = np.array([row.split == "test" for row in found.records], np.bool_)
    if not given.any() and any(row.split == "test" for row in records):
        raise InputError(f"{records.source}: none of its test pictures could be used. See: topwork audit on them.")
    if split:
        need_classes(found.records.select(~given))
    began = time.perf_counter()
    views = chosen.spec.views
    copies = find_copies(found, views["last+stages"] if "last+stages" in views else views["last"])
    seconds["copies"] = time.perf_counter() - began
    if given.any() or not split:
        return Read(chosen, found, copies, given, "the test pictures are those given", seconds)
    held = holdout(found.records.labels, copies.groups, list(records.classes), settings.test_share, settings.seed)
    reason = f"{settings.test_share:.0%} of each class held out, drawn with seed {settings.seed}; near-copies stay together"
    return Read(chosen, found, copies, held, reason, seconds)


def sample_of(records: Records) -> Sample:
    """Gives pixels of a few usable pictures from all over the table, for the choice of an engine."""

    def sample(geometry: Geometry) -> list[Pixels]:
        pixels: list[Pixels] = []
        step = max(1, len(records) // CHECKED_WITH)
        for record in records.rows[::step]:
            try:
                pixels.append(to_pixels(decode(read_bytes(record.path), wanted=geometry).image, geometry))
            except BadPicture:
                continue
            if len(pixels) == CHECKED_WITH:
                break
        return pixels

    return sample


def _table(seen: Read, rows: NDArray[np.int64], mirrored: bool, settings: FitSettings) -> FeatureTable:
    if mirrored:
        return averaged(seen.chosen.spec, seen.chosen.engine, seen.found, settings.store, rows)
    return seen.found.table.subset(rows)


def _search(seen: Read, train: NDArray[np.int64], settings: FitSettings, progress: Progress | None) -> Search:
    spec, records = seen.chosen.spec, seen.found.records

    def second_look() -> FeatureTable:
        return second_looks(spec, seen.chosen.engine, seen.found, settings.store, train, progress)

    return search(
        seen.found.table.subset(train),
        records.labels[train],
        seen.copies.groups[train],
        list(records.classes),
        spec.views,
        second_look,
        HeadSettings(seed=settings.seed),
    )


def _fit(seen: Read, settings: FitSettings, start: float, progress: Progress | None) -> Classifier:
    found, spec, records = seen.found, seen.chosen.spec, seen.found.records
    labels, groups, seconds = records.labels, seen.copies.groups, dict(seen.seconds)
    train, test = np.flatnonzero(~seen.test), np.flatnonzero(seen.test)
    began = time.perf_counter()
    chosen = _search(seen, train, settings, progress)
    head = chosen.head
    seconds["head"] = time.perf_counter() - began
    began = time.perf_counter()
    table = _table(seen, train, head.mirrored, settings)
    strangers = fit_strangers(table, labels[train], groups[train], head, chosen.logits, seed=settings.seed)
    seconds["none of these"] = time.perf_counter() - began
    began = time.perf_counter()
    sha256 = np.array(found.sha256)
    splits = {"train": sha256[train].tolist(), "test": sha256[test].tolist()}
    classifier = Classifier(
        records.classes, spec, head, strangers, seen.chosen.engine, seen.chosen.parts, {}, splits, settings.weights
    )
    probs, strange = classifier.judge(_table(seen, test, head.mirrored, settings))
    paths = [str(records.rows[row].path) for row in test]
    score = score_answers(probs, labels[test], strange > strangers.threshold, paths, records.classes)
    told = audit_table(found, seen.copies, softmax(chosen.logits, head.temperature), train)
    told = _with_leaks(told, seen, test, probs.argmax(1) == labels[test])
    seconds["score"] = time.perf_counter() - began
    facts = _facts(classifier, seen, settings, chosen, score, told, seconds, time.perf_counter() - start)
    return replace(classifier, facts=facts)


def _with_leaks(told: Audit, seen: Read, rows: NDArray[np.int64], right: NDArray[np.bool_]) -> Audit:
    """The audit with the test's accuracy with and without leaked pictures; `right` (n,) for the test `rows` (n,)."""
    if not told.leaks or not len(rows):
        return told
    leaked = {leak["test"] for leak in told.leaks}
    clean = np.array([str(seen.found.records.rows[row].path) not in leaked for row in rows], np.bool_)
    without = float(right[clean].mean()) if clean.any() else None
    return replace(told, accuracy_with_leaks=float(right.mean()), accuracy_without_leaks=without)


def _facts(
    classifier: Classifier,
    seen: Read,
    settings: FitSettings,
    chosen: Search,
    score: Score,
    told: Audit,
    seconds: dict[str, float],
    total: float,
) -> dict[str, Any]:
    """Everything measured and decided, as JSON types: metrics.json, and what report.html tells."""
    spec, engine, found = classifier.spec, classifier.engine, seen.found
    train, test = int((~seen.test).sum()), int(seen.test.sum())
    labels = found.records.labels[~seen.test]
    right = int((chosen.logits.argmax(1) == labels).sum())
    low, high = wilson(right, train)
    calibration = chosen.calibration
    scored = score.to_config()
    del scored["broken"], scored["seconds"], scored["images_per_second"]
    return {
        "name": "classifier",
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "topwork": __version__,
        "classes": list(classifier.classes),
        "backbone": {
            "id": spec.id,
            "name": spec.architecture,
            "licence": spec.licence,
            "parameters": spec.parameters,
            "input_size": spec.geometry.size,
            "sha256": spec.weights_sha256,
        },
        "engine": {"name": engine.name, "precision": engine.precision, "reason": seen.chosen.reason},
        "data": {
            "source": found.records.source,
            "pictures": len(found.usable),
            "train": train,
            "test": test,
            "test_from": seen.split_reason,
            "test_source": seen.test_source,
        },
        "score": scored,
        "cross_validation": {"accuracy": right / train, "accuracy_low": low, "accuracy_high": high, "n": train},
        "calibration": {
            "calibrated": calibration.calibrated,
            "temperature": calibration.temperature,
            "ece_before": calibration.error_before,
            "ece_after": calibration.error_after,
            "reason": calibration.reason,
        },
        "strangers": {
            "threshold": classifier.strangers.threshold,
            "kept": classifier.strangers.kept,
            "method": "distance to the nearest training pictures and how little any class is excited",
        },
        "head": {
            "kind": chosen.head.kind,
            "view": chosen.head.view,
            "mirrored": chosen.head.mirrored,
            "transform": chosen.head.transform,
            "strength": chosen.trial.strength or None,
            "ridge": chosen.trial.ridge or None,
        },
        "trials": [{**asdict(trial), "taken": trial is chosen.trial} for trial in chosen.trials],
        "reasons": {**chosen.reasons, "engine": seen.chosen.reason, "split": seen.split_reason},
        "settings": asdict(settings),
        "warnings": [*found.records.notes, *chosen.warnings, *found.warnings],
        "audit": told.to_config(),
        "timings": {
            "seconds": round(total, 3),
            "images_per_second": round(found.images_per_second, 1),
            "stored": found.stored,
            "steps": {name: round(value, 3) for name, value in seconds.items()},
        },
        "machine": {
            "cpu": runtime.processor(),
            "cores": runtime.cores(),
            "python": sys.version.split()[0],
            "versions": runtime.versions("topwork", "numpy", "pillow", "openvino", "torch", "timm"),
        },
    }
