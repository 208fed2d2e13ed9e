"""Each training trick alone, against one base recipe, several seeds, on stored activations: what it brings here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from topwork.classifier import extract_for
from topwork.copies import find_copies
from topwork.errors import InputError
from topwork.features.choose import open_engine
from topwork.features.extract import Extraction, Progress
from topwork.finetune import frozen as cold
from topwork.finetune.augment import Look
from topwork.finetune.ground import Ground
from topwork.finetune.loop import answers, learn
from topwork.finetune.state import Epoch
from topwork.finetune.tricks import OPTIMISERS, Tricks
from topwork.fitting import sample_of
from topwork.pictures.records import Records, need_classes
from topwork.pictures.sources import Pictures, labelled_records
from topwork.pictures.splits import grouped_folds
from topwork.tricks.network import Crown, Stored, spread
from topwork.tricks.result import Result, judged_together
from topwork.tricks.verdicts import interval, paired
from topwork.tricks.words import verdict_of
from topwork.zoo.spec import BackboneSpec

Rows = NDArray[np.int64]
Float32 = NDArray[np.float32]

PICTURES = 1200
"""Used at most, as many of each class as can be."""
VIEWS = 3
"""Of a picture, the plain one counted, for the trick of augmentation."""
BASE = Tricks(
    epochs=20,
    rate=1e-3,
    optimiser="adam",
    schedule="constant",
    warm_up=0.0,
    layer_decay=1.0,
    weight_decay=0.0,
    head_start="kaiming",
    batch_norm="updated",
    dropout=0.0,
    label_smoothing=0.0,
    clip=0.0,
    averaging="none",
    interpolation="none",
    patience=0,
    augment="none",
    views=1,
)
"""The recipe that every trick is added to, alone."""
RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.01, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3}
"""Where each optimiser works well on such a network; one rate for all would only tell which one it suits."""
STARTS = ("kaiming", "xavier", "normal", "uniform", "zeros")


@dataclass(frozen=True)
class Variant:
    """The base recipe with one thing changed."""

    name: str
    topic: str
    change: dict[str, Any] = field(default_factory=dict)
    """Settings of `Tricks`."""
    norm: bool = True
    """Whether the layers are normalised by batch."""
    scaled: bool = True
    """Whether the inputs have mean 0 and deviation 1."""


def variants() -> list[Variant]:
    """The base recipe and every trick alone."""
    return [
        Variant("base recipe", "base"),
        Variant("inputs not scaled", "input", scaled=False),
        *(Variant(f"{start} initialisation", "initialisation", {"head_start": start}) for start in STARTS[1:]),
        Variant("no batch normalisation", "normalisation", norm=False),
        Variant("no scaling, no normalisation", "normalisation", norm=False, scaled=False),
        Variant("dropout 0.3", "regularisation", {"dropout": 0.3}),
        Variant("early stopping, patience 3", "regularisation", {"patience": 3}),
        Variant("weight decay 0.1", "regularisation", {"weight_decay": 0.1, "optimiser": "adamw"}),
        Variant("L2-SP 0.001", "regularisation", {"l2_sp": 1e-3}),
        Variant("label smoothing 0.1", "regularisation", {"label_smoothing": 0.1}),
        Variant("mixup", "regularisation", {"mixing": "mixup"}),
        Variant("augmented views", "regularisation", {"augment": "light"}),
        Variant("class weights", "balance", {"class_weights": "balanced"}),
        Variant("EMA", "averaging", {"averaging": "ema"}),
        Variant("SWA", "averaging", {"averaging": "swa"}),
        *(Variant(name, "optimiser", {"optimiser": name, "rate": RATES[name]}) for name in OPTIMISERS if name not in ("adam",)),
        Variant("clip at 1", "gradient", {"clip": 1.0}),
        Variant("step schedule", "schedule", {"schedule": "step"}),
        Variant("exponential schedule", "schedule", {"schedule": "exponential"}),
        Variant("cosine with warm-up", "schedule", {"schedule": "cosine", "warm_up": 0.1}),
        Variant("one-cycle", "schedule", {"schedule": "one-cycle", "rate": 3e-3}),
        Variant("batches of 8", "batch", {"batch_size": 8}),
        Variant("batches of 128", "batch", {"batch_size": 128}),
    ]


@dataclass(frozen=True)
class Experiment:
    """All that was tried."""

    results: list[Result]
    """The base recipe first."""
    verdict: str
    """What is clearly better or worse than the base recipe, in words."""
    comparisons: int
    """That the verdicts are adjusted for."""
    spreads: dict[str, dict[str, list[float]]]
    """Deviation of the activations after each layer: with and without batch normalisation, by initialisation."""
    losses: dict[str, list[float]]
    """Training loss after each epoch, by optimiser, all from one start."""
    pictures: int
    classes: list[str]
    features: str
    seeds: int
    base: dict[str, Any]
    seconds: float
    warnings: list[str]

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def try_tricks(
    pictures: Pictures,
    *,
    backbone: str = "lite0",
    weights: str = "pretrained",
    seeds: int = 5,
    most: int = PICTURES,
    seed: int = 0,
    progress: Progress | None = None,
    told: Callable[[Result], None] | None = None,
) -> Experiment:
    """What each trick brings on these pictures, of which `most` are used; a test part is left out. Raises InputError."""
    began = time.perf_counter()
    with labelled_records(pictures) as records, _one_thread():
        if any(row.split == "test" for row in records):
            records = replace(records, rows=tuple(row for row in records if row.split != "test"))
        need_classes(records, 5)
        records = _some(records, most, seed)
        chosen = open_engine(backbone, weights, sample=sample_of(records))
        found = extract_for(chosen.spec, chosen.engine, records, True, progress)
        need_classes(found.records, 5)
        columns, features = _middle(chosen.spec)
        plain = found.table.take(np.arange(len(found.records)))[:, columns]
        groups = find_copies(found, chosen.spec.views.get("last+stages", chosen.spec.views["last"])).groups
        rows = np.concatenate([plain[None], _augmented(found, chosen, columns, seed, progress)])
    labels = found.records.labels
    classes = list(found.records.classes)
    for place, name in enumerate(classes):  # each of five folds needs one that is no copy of another's
        if (distinct := len(np.unique(groups[labels == place]))) < 5:
            raise InputError(f"{records.source}: {name} has {distinct} different pictures, the others are copies. Expected 5.")
    runs: dict[str, list[tuple[float, float, float]]] = {}
    results: list[Result] = []
    splits = [grouped_folds(labels, groups, 5, seed + number) for number in range(seeds)]
    grain = 1 / max(1, min(int((fold == 0).sum()) for fold in splits))
    for variant in variants():
        runs[variant.name] = [
            _run(variant, rows, labels, len(classes), fold, seed + number) for number, fold in enumerate(splits)
        ]
        results.append(_result(variant, runs[variant.name], runs["base recipe"], grain))
        if told is not None:
            told(results[-1])
    results = judged_together(results)
    scaled = _scaled(rows[:1], np.arange(len(labels)))[0]
    spreads = {
        kind: {start: spread(start, norm, scaled[:256], seed=seed) for start in STARTS}
        for kind, norm in (("without batch normalisation", False), ("with batch normalisation", True))
    }
    losses = {name: _losses(name, rows, labels, len(classes), splits[0], seed) for name in OPTIMISERS}
    return Experiment(
        results,
        verdict_of(results),
        len(results) - 1,
        spreads,
        losses,
        len(labels),
        classes,
        features,
        seeds,
        asdict(BASE),
        round(time.perf_counter() - began, 3),
        [*found.records.notes, *found.warnings],
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """So small a network learns fastest on one thread: shared by more, its steps are mostly waiting."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _some(records: Records, most: int, seed: int) -> Records:
    """Of more records so many, but five of each class, as many of each as can be, in their order, with a note."""
    most = max(most, 5 * len(records.classes))
    if len(records) <= most:
        return records
    labels = records.labels
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine))
    note = f"{most:,} of {len(records):,} pictures were used, as many of each class as can be"
    used = np.sort(np.argsort(turn, kind="stable")[:most])
    return replace(records, rows=tuple(records.rows[row] for row in used), notes=(*records.notes, note))


def _middle(spec: BackboneSpec) -> tuple[Rows, str]:
    """Columns of the pooled activations of the first half of the stages: there is something left to learn from them."""
    half = spec.stages[: max(1, -(-len(spec.stages) // 2))]
    if not half:
        return spec.views["last"], "last features"
    return np.arange(sum(width for _, width in half)), f"pooled activations of {', '.join(name for name, _ in half)}"


def _augmented(found: Extraction, chosen: Any, columns: Rows, seed: int, progress: Progress | None) -> Float32:
    """(VIEWS - 1, N, D) of augmented views."""
    spec = chosen.spec
    paths = [row.path for row in found.records]
    data, _ = cold.activations(
        paths, len(paths), spec.width, chosen.engine, spec.geometry, Look("light", False, seed), VIEWS, 4e9
    )
    data.progress = progress
    every = np.arange(len(paths))
    out = []
    try:
        for number in range(1, VIEWS):
            views = np.full(len(paths), number)
            data.ensure(every, views)
            out.append(data.batch(every, views).numpy()[:, columns])
    finally:
        data.scratch.close()
    return np.stack(out)


def _scaled(rows: Float32, train: Rows) -> Float32:
    """Rows (V, N, D) with mean 0 and deviation 1 over the plain views of the pictures learned from."""
    mean, deviation = rows[0][train].mean(0), rows[0][train].std(0)
    return np.asarray((rows - mean) / np.maximum(deviation, 1e-6), np.float32)


def _grounds(rows: Float32, labels: Rows, classes: int, fold: Rows, seed: int, scaled: bool, views: int) -> tuple[Ground, Rows]:
    train, validation, judged = (np.flatnonzero(part) for part in (fold > 1, fold == 1, fold == 0))
    rows = _scaled(rows, train) if scaled else rows
    return Ground(Stored(rows[:views]), labels, train, validation, classes, seed, "cpu", ("behind.",)), judged


def _crown(tricks: Tricks, rows: Float32, classes: int, norm: bool, seed: int) -> Crown:
    return Crown(rows.shape[2], 128, 3, classes, norm, tricks.head_start, tricks.dropout, seed)


def _run(variant: Variant, rows: Float32, labels: Rows, classes: int, fold: Rows, seed: int) -> tuple[float, float, float]:
    """(accuracy on pictures that chose nothing, epochs to 95 % of the best, seconds) of one run."""
    tricks = replace(BASE, **variant.change)
    views = VIEWS if tricks.augment != "none" else 1
    ground, judged = _grounds(rows, labels, classes, fold, seed, variant.scaled, views)
    model = _crown(tricks, rows, classes, variant.norm, seed)
    began = time.perf_counter()
    try:
        state = learn(model, ground, tricks)
    except InputError:  # the loss is no number any more: as good as a guess
        return 1 / classes, float("nan"), time.perf_counter() - began
    if state.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - began
    right = float((answers(model, ground, judged, 256).argmax(1).numpy() == labels[judged]).mean())
    best = max(row.accuracy for row in state.history)
    epochs = next(row.epoch for row in state.history if row.accuracy >= 0.95 * best)
    return right, float(epochs), seconds


def _losses(optimiser: str, rows: Float32, labels: Rows, classes: int, fold: Rows, seed: int) -> list[float]:
    change: dict[str, Any] = {"optimiser": optimiser, "rate": RATES[optimiser]}
    tricks = replace(BASE, **change)
    ground, _ = _grounds(rows, labels, classes, fold, seed, True, 1)
    history: list[Epoch] = []
    try:
        state = learn(_crown(tricks, rows, classes, True, seed), ground, tricks, told=lambda row, _: history.append(row))
        if state.interrupted:
            raise KeyboardInterrupt
    except InputError:  # it flew off: its line ends here
        pass
    return [row.train_loss for row in history if row.train_loss is not None]


def _result(
    variant: Variant, runs: Sequence[tuple[float, float, float]], base: Sequence[tuple[float, float, float]], grain: float
) -> Result:
    """What the runs (accuracy, epochs, seconds) come to; `grain` is what one picture counts."""
    right = np.array([one[0] for one in runs])
    difference = right - np.array([one[0] for one in base])
    low, high = interval(right, grain)
    gain_low, gain_high = interval(difference, grain)
    epochs = [one[1] for one in runs if np.isfinite(one[1])]
    return Result(
        variant.name,
        variant.topic,
        float(right.mean()),
        max(low, 0.0),
        min(high, 1.0),
        float(difference.mean()),
        gain_low,
        gain_high,
        paired(difference, grain),
        1.0,
        "base" if variant.topic == "base" else "not clear",
        float(np.mean(epochs)) if epochs else float("nan"),
        float(np.mean([one[2] for one in runs])),
    )
