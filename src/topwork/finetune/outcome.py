"""What comes of a fine-tune: a new classifier from the learned network, compared with the probe, and the one to keep."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.answers import Score, score_answers
from topwork.classifier import Classifier, averaged, extract_for
from topwork.errors import InputError, StorageError
from topwork.features.choose import open_engine
from topwork.features.extract import Extraction
from topwork.features.table import FeatureTable
from topwork.finetune import adversarial
from topwork.finetune.comparing import Comparison, compare, decided, sentence
from topwork.finetune.folding import unfold
from topwork.finetune.learner import HeadLayer, Learner
from topwork.finetune.loop import State, rows_of
from topwork.finetune.lora import merge
from topwork.finetune.reading import Seen, features_of
from topwork.finetune.settings import FinetuneSettings
from topwork.fitting import sample_of
from topwork.heads.calibrate import Calibration, calibrate, fit_temperature
from topwork.heads.head import Head
from topwork.heads.metrics import softmax
from topwork.heads.strangers import fit_strangers
from topwork.pictures.records import Records
from topwork.zoo import save_state
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a fine-tune."""

    classifier: Classifier
    """The one to keep: fine-tuned, or the probe."""
    helped: bool
    """Whether fine-tuning helped, by the validation pictures."""
    taken: bool
    """Whether the classifier is the fine-tuned one."""
    test: Comparison
    validation: Comparison
    sentence: str
    """`fine-tuning did not help: 90.2 % (86.7 to 92.9) to 90.5 % (87.1 to 93.1), ...`"""
    interrupted: bool
    fault: StorageError | None
    """The disk's fault that ended the learning early."""


def judged(
    before: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    backbone: Backbone,
    model: Learner,
    state: State,
    start: Head,
    facts: dict[str, Any],
    reasons: dict[str, str],
    seconds: dict[str, float],
    say: Callable[[str], None],
) -> Outcome:
    """The outcome of a run that ended in `state`; `start` is the probe without the validation pictures."""
    began = time.perf_counter()
    after, found, calibration = _classifier(before, seen, settings, backbone, model, reasons)
    validation_labels, test_labels = seen.labels[seen.validation], seen.labels[seen.test]
    old = _fair(start.logits(_blocks(features_of(before, seen, seen.validation))), validation_labels)
    table = _table(after, found, seen.validation)
    new = _fair(after.head.logits(_blocks(table)), validation_labels)
    validation = compare(old, new, validation_labels)
    if settings.adversarial:
        helped, told = adversarial.withstands(state, validation_labels)
    else:
        helped, told = decided(validation)
        if state.best_epoch == 0:
            helped, told = False, f"on {len(validation_labels)} validation pictures no epoch was better than the start"
    reasons["fine-tuned"] = f"{'yes' if helped else 'no'}: {told}"
    probs, strange = after.judge(_table(after, found, seen.test))
    test = compare(before.judge(features_of(before, seen, seen.test))[0], probs, test_labels)
    robust = None
    if settings.adversarial:
        say("attacks the test pictures, before and after")
        robust = adversarial.robustness(before, after, _tests(seen), settings)
    said = sentence(test, helped) if robust is None else robust.sentence(test)
    paths = [str(seen.found.records.rows[row].path) for row in seen.test]
    score = score_answers(probs, test_labels, strange > after.strangers.threshold, paths, before.classes)
    seconds["judging"] = time.perf_counter() - began
    taken = helped or settings.force
    told_facts = {
        "sentence": said,
        "helped": helped,
        "taken": taken,
        "test": test.to_config(),
        "validation": validation.to_config(),
        "best_epoch": state.best_epoch,
        "share": state.share,
        "epochs": state.epochs,
        "interrupted": state.interrupted,
        "broken": seen.found.broken,
        "history": rows_of(state.history),
        "tricks": asdict(settings.tricks),
        "reasons": reasons,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        **({} if robust is None else {"robustness": robust.to_config()}),
        **facts,
    }
    kept = after if taken else before
    changed = _facts(before, after, seen, settings, score, calibration, reasons, seconds) if taken else before.facts
    kept = replace(kept, facts={**changed, "finetune": told_facts})
    return Outcome(kept, helped, taken, test, validation, said, state.interrupted, state.fault)


def _tests(seen: Seen) -> Records:
    """The test pictures as a table of their own."""
    records = seen.found.records
    rows = [records.rows[row] for row in seen.test]
    return replace(records, rows=tuple(replace(row, split=None) for row in rows), notes=())


def _classifier(
    before: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    backbone: Backbone,
    model: Learner,
    reasons: dict[str, str],
) -> tuple[Classifier, Extraction, Calibration]:
    """The learned network as a classifier of its own, all of its pictures' features, and how its probabilities were set."""
    model.to("cpu")
    head_layer = model.head
    assert isinstance(head_layer, HeadLayer)  # noqa: S101 - made by the workshop
    records = seen.found.records
    if model.behind is None:
        spec, engine, parts, weights, found = before.spec, before.engine, before.parts, before.weights, seen.found
    else:
        merge(model.behind)
        unfold(model.behind)
        backbone.network.load_state_dict(model.behind.network.state_dict())
        with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
            file = Path(folder) / "fine-tuned.safetensors"
            save_state(backbone, file)
            chosen = open_engine(before.spec.id, str(file), before.engine.name, settings.device, sample_of(records))
        spec = replace(chosen.spec, weights=f"fine-tuned from {before.spec.weights}", licence=before.spec.licence)
        engine, parts, weights = chosen.engine, chosen.parts, "fine-tuned"
        reasons["engine"] = chosen.reason
        found = extract_for(spec, engine, records, True)
        if len(found.records) != len(records):
            raise InputError(f"{records.source}: pictures changed while they were read. Run again.")
    head = head_layer.to_head(before.head.view, spec.width, before.head.mirrored)
    blank = replace(before, spec=spec, head=head, engine=engine, parts=parts, weights=weights)
    held = seen.validation
    logits = head.logits(_blocks(_table(blank, found, held)))
    calibration = calibrate(logits, seen.labels[held], np.arange(len(held)))
    head = replace(head, temperature=calibration.temperature)
    blank = replace(blank, head=head)
    rows = np.concatenate([seen.learn, held])
    table = _table(blank, found, rows)
    every = head.logits(_blocks(table))
    strangers = fit_strangers(
        table,
        seen.labels[rows],
        seen.copies.groups[rows],
        head,
        every,
        seed=settings.seed,
        held=np.arange(len(seen.learn), len(rows)),
    )
    sha256 = np.array(seen.found.sha256)
    splits = {"train": sorted({*before.splits.get("train", []), *sha256[rows]}), "test": sha256[seen.test].tolist()}
    return replace(blank, strangers=strangers, splits=splits), found, calibration


def _table(classifier: Classifier, found: Extraction, rows: Rows) -> FeatureTable:
    if classifier.head.mirrored:
        return averaged(classifier.spec, classifier.engine, found, True, rows)
    return found.table.subset(rows)


def _blocks(table: FeatureTable) -> Float32:
    return table.read(0, len(table))


def _fair(logits: Float32, labels: Rows) -> Float32:
    """Probabilities (n, K), the temperature of each half of the pictures taken from the other half."""
    if len(labels) < 4:
        return softmax(logits)
    probs = np.empty(logits.shape, np.float32)
    for half in (0, 1):
        mine = np.arange(len(labels)) % 2 == half
        probs[mine] = softmax(logits[mine], fit_temperature(logits[~mine], labels[~mine]))
    return probs


def _facts(
    before: Classifier,
    after: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    score: Score,
    calibration: Calibration,
    reasons: dict[str, str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What the report tells of the new classifier: the old facts, and in their place those that are new."""
    old, spec = before.facts, after.spec
    scored = score.to_config()
    del scored["broken"], scored["seconds"], scored["images_per_second"]
    total = sum(seconds.values())
    return {
        **old,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "backbone": {**old.get("backbone", {}), "sha256": spec.weights_sha256},
        "engine": {"name": after.engine.name, "precision": after.engine.precision, "reason": reasons.get("engine", "")},
        "data": {
            **old.get("data", {}),
            "source": seen.found.records.source,
            "train": len(seen.learn),
            "validation": len(seen.validation),
            "test": len(seen.test),
        },
        "score": scored,
        "cross_validation": {},
        "calibration": {
            "calibrated": calibration.calibrated,
            "temperature": calibration.temperature,
            "ece_before": calibration.error_before,
            "ece_after": calibration.error_after,
            "reason": calibration.reason,
        },
        "strangers": {
            **old.get("strangers", {}),
            "threshold": after.strangers.threshold,
            "kept": after.strangers.kept,
        },
        "head": {**after.head.to_config(), "strength": None},
        "reasons": {**old.get("reasons", {}), **reasons, "calibration": calibration.reason},
        "settings": {**old.get("settings", {}), **_flat(settings)},
        "command": "",
        "warnings": [*old.get("warnings", []), *seen.notes],
        "timings": {
            "seconds": round(total, 3),
            "images_per_second": old.get("timings", {}).get("images_per_second"),
            "steps": {name: round(value, 3) for name, value in seconds.items()},
        },
    }


def _flat(settings: FinetuneSettings) -> dict[str, Any]:
    plain = {name: value for name, value in asdict(settings).items() if name not in ("tricks", "scratch_folder", "force")}
    return {**plain, **asdict(settings.tricks)}
