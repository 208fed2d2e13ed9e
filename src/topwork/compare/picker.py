"""Which network to pick: all are tried on the same pictures, measured on this machine, and compared in pairs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.compare.choosing import Entry, accuracy_of, choose, dominated, probe_of
from topwork.compare.joint import Joint, add
from topwork.compare.probe import best_of, mcnemar, mean_gain, probes
from topwork.compare.reading import LookSettings, changed, need_labels, nested_order, opened, training
from topwork.compare.speed import measure_speed
from topwork.compare.transferability import transferability
from topwork.copies import find_copies
from topwork.errors import InputError, MissingExtra, WeightsError
from topwork.features.choose import open_engine
from topwork.features.extract import Progress
from topwork.fitting import sample_of
from topwork.pictures.records import Record, Records
from topwork.pictures.sources import Pictures

Labels = NDArray[np.int64]

VIEWS = ("last", "last+stages")
"""What a head may see when networks are compared; `fit` tries more."""

RIDGES = (0.3, 1.0)
FIRST_PICTURES = 120
"""Pictures of the first round at least; each further round has four times as many."""

SCORED = 600
"""Pictures that LogME, H-score and LEEP are made from."""


@dataclass(frozen=True)
class Compared:
    """One network: measured on the user's pictures and machine."""

    name: str
    accuracy: float
    """Of a cross-validated probe."""
    accuracy_low: float
    accuracy_high: float
    images_per_second: float
    latency_ms: float
    size_mb: float
    memory_mb: float | None
    logme: float
    h_score: float
    leep: float | None
    pictures: int
    """That it was tried on; fewer where it was dropped."""
    view: str
    engine: str
    input_size: int
    dropped: str | None
    """Why it was not tried on all pictures, or None."""


@dataclass(frozen=True)
class Comparison:
    """All networks, the pick and why."""

    backbones: list[Compared]
    """Best first; the dropped ones last."""
    pick: str | None
    """None where no network meets the budget."""
    reason: str
    test: dict[str, Any] | None
    """The best two on the same pictures: first, second, gain with its low and high, p of McNemar's exact test."""
    skipped: list[dict[str, str]]
    """name, reason and command of each network that could not be tried."""
    rounds: list[dict[str, Any]]
    """pictures and networks of each round."""
    pictures: int
    classes: int
    broken: list[dict[str, str]]
    budget: dict[str, float | None]
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def compare_backbones(
    pictures: Pictures,
    backbones: Sequence[str],
    *,
    budget_ms: float | None = None,
    budget_mb: float | None = None,
    settings: LookSettings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Comparison:
    """The networks tried on labelled pictures: a folder, a CSV or (picture, label) pairs.

    backbones: names as -b takes them; NAME=random or NAME=FILE for other weights than the pretrained ones.
    budget_ms: most milliseconds for one picture; budget_mb: most megabytes of the network's file. `changes` are settings of
    what is looked at, by name. Raises InputError, UnknownName.
    """
    began = time.perf_counter()
    settings = changed(settings or LookSettings(most=2_000), changes)
    _check(backbones, budget_ms, budget_mb)
    with opened(pictures) as given:
        whole = need_labels(training(given), 2)
        entries, skipped = _opened(backbones, whole, settings)
        joint = Joint()
        order = nested_order(whole.labels, np.random.default_rng(settings.seed))[: settings.most]
        rounds = _rounds(entries, whole, order, joint, settings, progress)
    notes = list(whole.notes)
    if len(order) < len(whole):
        notes.append(f"{len(order):,} of {len(whole):,} pictures were looked at, every class in its proportion")
    finished = sorted([one for one in entries if one.dropped is None], key=lambda one: -accuracy_of(one))
    dropped = sorted([one for one in entries if one.dropped is not None], key=lambda one: -accuracy_of(one))
    pick, reason = choose(finished, budget_ms, budget_mb)
    test = None
    if len(finished) > 1:
        first, second = (probe_of(one) for one in finished[:2])
        gain, low, high = mean_gain(second.right, first.right)
        names = {"first": finished[0].name, "second": finished[1].name}
        test = {**names, "gain": gain, "low": low, "high": high, "p": mcnemar(first.right, second.right)}
    return Comparison(
        backbones=[_compared(one) for one in [*finished, *dropped]],
        pick=None if pick is None else pick.name,
        reason=reason,
        test=test,
        skipped=skipped,
        rounds=rounds,
        pictures=len(joint.records),
        classes=len(whole.classes),
        broken=joint.broken,
        budget={"ms": budget_ms, "mb": budget_mb},
        seconds=round(time.perf_counter() - began, 3),
        warnings=notes,
    )


def _check(backbones: Sequence[str], budget_ms: float | None, budget_mb: float | None) -> None:
    if not backbones:
        raise InputError("compare: expected at least one network, for example --backbones lite0,timm:resnet50.")
    twice = sorted({name for name in backbones if list(backbones).count(name) > 1})
    if twice:
        raise InputError(f"compare: named twice: {', '.join(twice)}. Name each network once.")
    for what, budget in (("budget-ms", budget_ms), ("budget-mb", budget_mb)):
        if budget is not None and not budget > 0:
            raise InputError(f"--{what}: expected more than 0, got {budget:g}.")


def split_name(name: str) -> tuple[str, str]:
    """(network, weights) of NAME, NAME=random or NAME=FILE."""
    network, _, weights = name.partition("=")
    return network, weights or "pretrained"


@contextlib.contextmanager
def nothing_fetched() -> Iterator[None]:
    """Inside, weights that are not on this machine are an error, not a download."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _opened(backbones: Sequence[str], records: Records, settings: LookSettings) -> tuple[list[Entry], list[dict[str, str]]]:
    """The networks that are at hand, each with its speed; and those that are not, with the command that gets them."""
    entries, skipped = [], []
    sample = sample_of(records)
    for name in backbones:
        network, weights = split_name(name)
        try:
            with nothing_fetched():
                chosen = open_engine(network, weights, settings.engine, settings.device, sample)
        except (WeightsError, MissingExtra) as error:
            command = f"topwork zoo get {network}" if weights == "pretrained" and isinstance(error, WeightsError) else ""
            skipped.append({"name": name, "reason": str(error), "command": command})
            continue
        entries.append(Entry(name, chosen, measure_speed(chosen, sample(chosen.spec.geometry))))
    if not entries:
        told = " ".join(f"{one['name']}: {one['reason']}" for one in skipped)
        get = ", ".join(one["command"] for one in skipped if one["command"])
        raise InputError(f"none of the networks is at hand. {told} Get them while connected: {get}." if get else told)
    return entries, skipped


def _rounds(
    entries: list[Entry],
    whole: Records,
    order: Labels,
    joint: Joint,
    settings: LookSettings,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Successive halving (Jamieson 2016): rounds on ever more pictures; what cannot be picked any more is dropped."""
    sizes = _sizes(len(order), len(entries), len(whole.classes))
    alive, rounds, before = list(entries), [], 0
    for place, size in enumerate(sizes):
        records: list[Record] = [whole.rows[row] for row in order[before:size]]

        def told(done: int, start: int = before) -> None:
            if progress is not None:
                progress(start + done, len(order))

        add(joint, records, [one.chosen for one in alive], settings.store, told)
        before = size
        rounds.append({"pictures": len(joint.records), "networks": [one.name for one in alive]})
        if not joint.records:
            raise InputError(f"{whole.source}: none of its {size} pictures could be used. See: topwork audit")
        last = place + 1 == len(sizes)
        if not last and len({row.label for row in joint.records}) < 2:
            continue  # a rare class has not come yet
        _try(alive, joint, whole, settings.seed)
        if not last:
            for one in dominated(alive):
                joint.without(alive.index(one))
                alive.remove(one)
    return rounds


def _sizes(count: int, networks: int, classes: int) -> list[int]:
    """Pictures of each round, the last one all."""
    sizes = [count]
    while networks > 1 and sizes[0] // 4 >= max(FIRST_PICTURES, 3 * classes):
        sizes.insert(0, sizes[0] // 4)
    return sizes


def _try(alive: list[Entry], joint: Joint, whole: Records, seed: int) -> None:
    found = joint.extraction(whole)
    views = alive[0].chosen.spec.views
    groups = find_copies(found, views.get("last+stages", views["last"])).groups
    present, labels = np.unique(found.records.labels, return_inverse=True)
    if len(present) < 2:
        raise InputError(f"{whole.source}: usable pictures of one class only ({whole.classes[present[0]]}), need at least 2.")
    scored = nested_order(labels, np.random.default_rng(seed))[:SCORED]
    for one, table in zip(alive, joint.tables, strict=True):
        spec = one.chosen.spec
        some = {name: columns for name, columns in spec.views.items() if name in VIEWS}
        one.probe = best_of(probes(table, labels, groups, len(present), some, seed, RIDGES))
        one.pictures = len(labels)
        rows = table.take(scored)
        answers = rows[:, -spec.answers :] if spec.answers else None
        one.scores = transferability(rows[:, spec.views["last"]], labels[scored], answers)


def _compared(one: Entry) -> Compared:
    probe, scores = probe_of(one), one.scores
    low, high = probe.interval
    return Compared(
        name=one.name,
        accuracy=round(probe.accuracy, 4),
        accuracy_low=round(low, 4),
        accuracy_high=round(high, 4),
        images_per_second=round(one.speed.images_per_second, 1),
        latency_ms=round(one.speed.latency_ms, 2),
        size_mb=round(one.speed.size_mb, 2),
        memory_mb=one.speed.memory_mb,
        logme=scores.logme if scores else float("nan"),
        h_score=scores.h_score if scores else float("nan"),
        leep=scores.leep if scores else None,
        pictures=one.pictures,
        view=probe.view,
        engine=f"{one.chosen.engine.name} {one.chosen.engine.precision}",
        input_size=one.chosen.spec.geometry.size,
        dropped=one.dropped,
    )
