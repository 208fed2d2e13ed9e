"""What comes of a fine-tune: a new classifier from the learned network, compared with the probe, and the one to keep."""

from __future__ import annotations

import copy
import datetime
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

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
from topwork.finetune.lora import merge
from topwork.finetune.reading import Seen, features_of
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.state import State, rows_of
from topwork.fitting import sample_of
from topwork.heads.calibrate import Calibration, calibrate, fit_temperature
from topwork.heads.head import Head
from topwork.heads.metrics import softmax
from topwork.heads.strangers import Strangers, fit_strangers
from topwork.pictures.records import Records
from topwork.zoo import save_state
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]
Float32 = NDArray[np.float32]
Probs = NDArray[np.float32]


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


@dataclass(frozen=True, eq=False)
class Candidate:
    """A learned network as a classifier, and what the validation pictures say of it."""

    classifier: Classifier
    found: Extraction
    """All pictures as it sees them."""
    calibration: Calibration
    answers: tuple[Probs, Probs, Rows]
    """Probabilities (n, K) that the probe and the learned network give the validation pictures, and their labels (n,)."""
    validation: Comparison
    """Of networks that did not learn from these pictures."""
    verdict: Literal["yes", "no", "doubt"]
    told: str

    @property
    def helped(self) -> bool:
        """Whether fine-tuning helped, by the validation pictures."""
        return self.verdict == "yes"

    def with_fold(self, before: Float32, after: Float32, labels: Rows, looks: int) -> Candidate:
        """The candidate judged on more pictures: logits (n, K) that nobody learned from, of a probe and a network."""
        old, new, those = self.answers
        answers = (
            np.concatenate([old, _fair(before, labels)]),
            np.concatenate([new, _fair(after, labels)]),
            np.concatenate([those, labels]),
        )
        validation = compare(*answers)
        verdict, told = decided(validation, looks)
        return replace(self, answers=answers, validation=validation, verdict=verdict, told=told)


def held_out(
    before: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    backbone: Backbone,
    model: Learner,
    state: State,
    start: Head,
    reasons: dict[str, str],
) -> Candidate:
    """What a run that ended in `state` made of the model; `start` is the probe without the validation pictures."""
    blank, found, reasons["engine"] = _classifier(before, seen, settings, backbone, model)
    held = seen.validation
    labels = seen.labels[held]
    logits = blank.head.logits(_blocks(_table(blank, found, held)))
    calibration = calibrate(logits, labels, np.arange(len(held)))
    head = replace(blank.head, temperature=calibration.temperature)
    strangers = _strangers(replace(blank, head=head), seen, found, settings.seed)
    answers = (_fair(start.logits(_blocks(features_of(before, seen, held))), labels), _fair(logits, labels), labels)
    validation = compare(*answers)
    verdict, told = decided(validation, settings.folds)
    if settings.adversarial:
        withstood, told = adversarial.withstands(state, labels)
        verdict = "yes" if withstood else "no"
    elif state.best_epoch == 0:
        verdict, told = "no", f"on {len(labels)} validation pictures no epoch was better than the start"
    after = replace(blank, head=head, strangers=strangers)
    return Candidate(after, found, calibration, answers, validation, verdict, told)


def refitted(
    candidate: Candidate, before: Classifier, seen: Seen, settings: FinetuneSettings, backbone: Backbone, model: Learner
) -> Candidate:
    """The candidate with the network that learned again, from all pictures.

    Temperature and scales of strangeness stay those that were measured on pictures nobody had learned from; there are none now.
    """
    blank, found, _ = _classifier(before, seen, settings, backbone, model)
    old = candidate.classifier
    head = replace(blank.head, temperature=old.head.temperature)
    new = _strangers(replace(blank, head=head), seen, found, settings.seed)
    strangers = replace(old.strangers, head=head, references=new.references)
    return replace(candidate, classifier=replace(blank, head=head, strangers=strangers), found=found)


def judged(
    before: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    candidate: Candidate,
    state: State,
    again: State | None,
    facts: dict[str, Any],
    reasons: dict[str, str],
    seconds: dict[str, float],
    say: Callable[[str], None],
) -> Outcome:
    """The outcome of a run that ended in `state`, and of that from all pictures, where there was one."""
    began = time.perf_counter()
    helped, validation = candidate.helped, candidate.validation
    reasons["fine-tuned"] = f"{'yes' if helped else 'no'}: {candidate.told}"
    after = replace(candidate.classifier, splits=_splits(before, seen))
    test_labels = seen.labels[seen.test]
    probs, strange = after.judge(_table(after, candidate.found, seen.test))
    test = compare(before.judge(features_of(before, seen, seen.test))[0], probs, test_labels)
    robust = None
    if settings.adversarial:
        say("attacks the test pictures, before and after")
        robust = adversarial.robustness(before, after, _records(seen, seen.test), settings)
    said = sentence(test, helped) if robust is None else robust.sentence(test)
    ends = (state,) if again is None else (state, again)
    interrupted = any(one.interrupted for one in ends)
    fault = next((one.fault for one in ends if one.fault is not None), None)
    paths = [str(seen.found.records.rows[row].path) for row in seen.test]
    score = score_answers(probs, test_labels, strange > after.strangers.threshold, paths, before.classes)
    seconds["judging"] = seconds.get("judging", 0.0) + time.perf_counter() - began
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
        "interrupted": interrupted,
        "broken": seen.found.broken,
        "history": rows_of(state.history),
        "tricks": asdict(settings.tricks),
        "reasons": reasons,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        **({} if robust is None else {"robustness": robust.to_config()}),
        **facts,
    }
    kept = after if taken else before
    changed = _facts(before, after, seen, settings, score, candidate.calibration, reasons, seconds) if taken else before.facts
    kept = replace(kept, facts={**changed, "finetune": told_facts})
    return Outcome(kept, helped, taken, test, validation, said, interrupted, fault)


def fold_logits(
    before: Classifier, seen: Seen, settings: FinetuneSettings, backbone: Backbone, model: Learner, rows: Rows
) -> Float32:
    """Logits (n, K) that a learned network gives some pictures as a classifier: by its engine, mirror images where wanted."""
    records = _records(seen, rows)
    blank, found, _ = _classifier(before, seen, settings, backbone, model, records)
    table = averaged(blank.spec, blank.engine, found, False) if blank.head.mirrored else found.table
    return blank.head.logits(_blocks(table))


def _records(seen: Seen, rows: Rows) -> Records:
    """Some pictures as a table of their own."""
    records = seen.found.records
    return replace(records, rows=tuple(replace(records.rows[row], split=None) for row in rows), notes=())


def _splits(before: Classifier, seen: Seen) -> dict[str, list[str]]:
    sha256 = np.array(seen.found.sha256)
    rows = np.concatenate([seen.learn, seen.validation])
    return {"train": sorted({*before.splits.get("train", []), *sha256[rows]}), "test": sha256[seen.test].tolist()}


def _classifier(
    before: Classifier,
    seen: Seen,
    settings: FinetuneSettings,
    backbone: Backbone,
    model: Learner,
    some: Records | None = None,
) -> tuple[Classifier, Extraction, str]:
    """(the learned network as a classifier that is not calibrated, all pictures or some as it sees them, why its engine)."""
    model.to("cpu")
    head_layer = model.head
    assert isinstance(head_layer, HeadLayer)  # noqa: S101 - made by the workshop
    records = some or seen.found.records
    if model.behind is None:
        head = head_layer.to_head(before.head.view, before.spec.width, before.head.mirrored)
        found = seen.found if some is None else extract_for(before.spec, before.engine, some, True)
        return replace(before, head=head), found, before.facts.get("engine", {}).get("reason", "")
    merge(model.behind)
    unfold(model.behind)
    learned = copy.deepcopy(backbone)
    state = model.behind.network.state_dict()
    # Counts of batches are no part of a checkpoint, and decide nothing.
    kept = {name: one for name, one in backbone.network.state_dict().items() if name.endswith("num_batches_tracked")}
    learned.network.load_state_dict(state | kept)
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        file = Path(folder) / "fine-tuned.safetensors"
        save_state(learned, file)
        device = settings.device if before.engine.name == "torch" else "cpu"
        chosen = open_engine(before.spec.id, str(file), before.engine.name, device, sample_of(records))
    spec = replace(chosen.spec, weights=f"fine-tuned from {before.spec.weights}", licence=before.spec.licence)
    found = extract_for(spec, chosen.engine, records, some is None)
    if len(found.records) != len(records):
        raise InputError(f"{records.source}: pictures changed while they were read. Run again.")
    head = head_layer.to_head(before.head.view, spec.width, before.head.mirrored)
    new = replace(before, spec=spec, head=head, engine=chosen.engine, parts=chosen.parts, weights="fine-tuned")
    return new, found, chosen.reason


def _strangers(classifier: Classifier, seen: Seen, found: Extraction, seed: int) -> Strangers:
    """What is strange to a classifier; its scales from the validation pictures, as if it had not learned from them."""
    rows = np.concatenate([seen.learn, seen.validation])
    table = _table(classifier, found, rows)
    logits = classifier.head.logits(_blocks(table))
    held = np.arange(len(seen.learn), len(rows))
    return fit_strangers(table, seen.labels[rows], seen.copies.groups[rows], classifier.head, logits, seed=seed, held=held)


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
