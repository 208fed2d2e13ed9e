"""Features of many networks in one pass over the files: each is read once and decoded once per input geometry."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from topwork.classifier import opened_store
from topwork.features.choose import Chosen
from topwork.features.extract import Extraction
from topwork.features.store import Row, Store
from topwork.features.table import FeatureTable
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels
from topwork.pictures.likeness import likeness
from topwork.pictures.reasons import BadPicture
from topwork.pictures.records import Record, Records
from topwork.runtime import cores

Found = list[Row] | BadPicture
"""A row for each network, or what is wrong with the picture."""


@dataclass
class Joint:
    """What several networks made of the same pictures; grows by `add`."""

    records: list[Record] = field(default_factory=list)
    """The usable pictures."""
    tables: list[FeatureTable] = field(default_factory=list)
    """One for each network, the rows in the order of `records`."""
    rows: list[Row] = field(default_factory=list)
    """What is kept of each picture beside features, from the first network."""
    broken: list[dict[str, str]] = field(default_factory=list)
    computed: int = 0
    """Forward passes that were made; what the store held is not counted."""
    seconds: float = 0.0

    def extraction(self, whole: Records) -> Extraction:
        """The first network's view of it, as `find_copies` takes it; `whole` gives source and classes."""
        records = Records(tuple(self.records), whole.source, whole.classes)
        return Extraction(
            records,
            self.tables[0],
            sha256=[row.sha256 for row in self.rows],
            likeness=[row.likeness for row in self.rows],
            sizes=[(row.width, row.height) for row in self.rows],
        )

    def without(self, place: int) -> None:
        """Forget a network's table."""
        del self.tables[place]


def add(joint: Joint, records: Sequence[Record], networks: Sequence[Chosen], keep: bool, told: Callable[[int], None]) -> None:
    """Take more pictures in, for the networks that `joint` has tables of. told: called with the pictures done."""
    began = time.perf_counter()
    if not joint.tables:
        joint.tables = [FeatureTable(one.spec.width) for one in networks]
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(opened_store(one.spec, one.engine, keep)) for one in networks]
        done = 0
        for record, found, fresh in _ordered(records, networks, stores):
            done += 1
            told(done)
            if isinstance(found, BadPicture):
                joint.broken.append({"path": str(record.path), "reason": found.reason.value, "detail": found.detail})
                continue
            joint.records.append(record)
            joint.rows.append(Row(found[0].sha256, found[0].width, found[0].height, found[0].likeness, found[0].features[:0]))
            for table, store, row, new in zip(joint.tables, stores, found, fresh, strict=True):
                table.append(row.features[None])
                joint.computed += new
                if store is not None and new:
                    store.put(row)
        for store in stores:
            if store is not None:
                store.flush()
    joint.seconds += time.perf_counter() - began


def _ordered(
    records: Sequence[Record], networks: Sequence[Chosen], stores: Sequence[Store | None]
) -> Iterator[tuple[Record, Found, list[bool]]]:
    """(record, what was found, which rows are new) in order; at most a few chunks are under way."""
    step = max(one.engine.batch for one in networks)
    chunks = [records[place : place + step] for place in range(0, len(records), step)]
    workers = 2 * cores()
    waiting: deque[tuple[Sequence[Record], Future[list[tuple[Found, list[bool]]]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(_work, chunk, networks, stores)))
                if len(waiting) >= 4 * workers:
                    yield from _results(waiting)
            while waiting:
                yield from _results(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _results(
    waiting: deque[tuple[Sequence[Record], Future[list[tuple[Found, list[bool]]]]]],
) -> Iterator[tuple[Record, Found, list[bool]]]:
    chunk, future = waiting.popleft()
    for record, (found, fresh) in zip(chunk, future.result(), strict=True):
        yield record, found, fresh


def _work(
    chunk: Sequence[Record], networks: Sequence[Chosen], stores: Sequence[Store | None]
) -> list[tuple[Found, list[bool]]]:
    opened: list[bytes | BadPicture] = []
    for record in chunk:
        try:
            opened.append(read_bytes(record.path))
        except BadPicture as error:
            opened.append(error)
    rows: list[list[Row | None]] = [[None] * len(networks) for _ in chunk]
    fresh = [[False] * len(networks) for _ in chunk]
    bad: dict[int, BadPicture] = {place: one for place, one in enumerate(opened) if isinstance(one, BadPicture)}
    hashes = [hashlib.sha256(one).hexdigest() if isinstance(one, bytes) else "" for one in opened]
    seen: dict[tuple[int, Geometry], tuple[Pixels, Row]] = {}
    for number, (network, store) in enumerate(zip(networks, stores, strict=True)):
        geometry = network.spec.geometry
        todo = []
        for place, data in enumerate(opened):
            if place in bad or not isinstance(data, bytes):
                continue
            known = store.get(hashes[place]) if store is not None else None
            if known is not None and len(known.features) == network.spec.width:
                rows[place][number] = known
                continue
            if (place, geometry) not in seen:
                try:
                    seen[place, geometry] = _looked(data, chunk[place], geometry)
                except BadPicture as error:
                    bad[place] = error
                    continue
            todo.append(place)
        for start in range(0, len(todo), network.engine.batch):
            some = todo[start : start + network.engine.batch]
            features = network.engine.infer(np.stack([seen[place, geometry][0] for place in some]))
            for place, row in zip(some, features, strict=True):
                kept = seen[place, geometry][1]
                rows[place][number] = Row(kept.sha256, kept.width, kept.height, kept.likeness, row)
                fresh[place][number] = True
    return [
        (bad[place], []) if place in bad else ([row for row in mine if row is not None], fresh[place])
        for place, mine in enumerate(rows)
    ]


def _looked(data: bytes, record: Record, geometry: Geometry) -> tuple[Pixels, Row]:
    """The pixels of a picture, and its row without features."""
    picture = decode(data, Path(record.path).name, geometry)
    pixels = to_pixels(picture.image, geometry)
    return pixels, Row(picture.sha256, picture.width, picture.height, likeness(pixels), np.empty(0, np.float32))
