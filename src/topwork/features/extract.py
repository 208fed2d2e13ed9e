"""From records to features: each worker reads, decodes and runs the engine, so both overlap and memory stays flat."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from topwork.features.engines import Engine, Float32
from topwork.features.store import Row, Store
from topwork.features.table import FeatureTable
from topwork.pictures.decode import Geometry, Pixels, decode, mismatch, read_bytes, to_pixels
from topwork.pictures.likeness import LIKENESS_VERSION, likeness
from topwork.pictures.reasons import BadPicture
from topwork.pictures.records import Record, Records
from topwork.runtime import cores
from topwork.zoo.spec import BackboneSpec

SECOND_LOOK_VERSION = 1
"""Part of the store's key: raise it when `second_look` gives other pixels."""

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass
class Extraction:
    """Features of the usable pictures, and what was found wrong with the others."""

    records: Records
    """The usable pictures, in the order of the table's rows."""
    table: FeatureTable
    sha256: list[str] = field(default_factory=list)
    likeness: list[bytes] = field(default_factory=list)
    """Perceptual hashes, see `topwork.pictures.likeness`."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(width, height) of each usable picture."""
    usable: list[bool] = field(default_factory=list)
    """Of each picture asked for, whether it could be used."""
    broken: list[dict[str, str]] = field(default_factory=list)
    """path, reason, detail of each picture that could not be used."""
    mismatches: list[dict[str, str]] = field(default_factory=list)
    """path, detail of each picture whose name announces another format."""
    computed: int = 0
    """Pictures that went through the engine; the others came from the store."""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Usable pictures whose features came from the store."""
        return len(self.sha256) - self.computed

    @property
    def images_per_second(self) -> float:
        """Usable pictures per second of the whole way, files to features."""
        return len(self.sha256) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class _Found:
    row: Row | None
    fresh: bool = False
    bad: BadPicture | None = None
    warning: str | None = None


def store_key(spec: BackboneSpec, engine: Engine, mirrored: bool = False) -> str:
    """The store's fingerprint: network, weights, preprocessing, decoder and its library, hash, precision, which look."""
    look = f"second look {SECOND_LOOK_VERSION}" if mirrored else "first look"
    facts = (spec.fingerprint, f"Pillow {PIL.__version__}", f"likeness {LIKENESS_VERSION}", engine.precision, look)
    return hashlib.sha256(" | ".join(facts).encode()).hexdigest()


def extract(
    records: Records,
    spec: BackboneSpec,
    engine: Engine,
    store: Store | None = None,
    progress: Progress | None = None,
    mirrored: bool = False,
) -> Extraction:
    """Features of every usable picture of `records`, in order; a bad picture is a finding and stops nothing.

    With `mirrored`, of the mirror images as `second_look` gives them; `store` must then be the one for those.
    """
    start = time.perf_counter()
    table = FeatureTable(spec.width)
    result = Extraction(records, table)
    keep = result.usable
    work = partial(_work, spec=spec, engine=engine, store=store, mirrored=mirrored)
    for record, found in zip(records, _ordered(records, engine, work), strict=True):
        keep.append(found.row is not None)
        if found.bad is not None:
            result.broken.append({"path": str(record.path), "reason": found.bad.reason.value, "detail": found.bad.detail})
        if found.warning is not None:
            result.mismatches.append({"path": str(record.path), "detail": found.warning})
        if found.row is not None:
            table.append(found.row.features[None])
            result.sha256.append(found.row.sha256)
            result.likeness.append(found.row.likeness)
            result.sizes.append((found.row.width, found.row.height))
            if found.fresh:
                result.computed += 1
                if store is not None:
                    store.put(found.row)
        if progress is not None:
            progress(len(keep), len(records))
    if store is not None:
        store.flush()
        if store.warning is not None:
            result.warnings.append(store.warning)
    result.records = records.select(keep)
    result.seconds = time.perf_counter() - start
    return result


def second_look(image: Image.Image, geometry: Geometry) -> Pixels:
    """The mirror image with the margin that the first look cuts off: pixels (size, size, 3).

    Averaged with the first look it brings more than the plain mirror image does, at the same price.
    """
    return np.ascontiguousarray(to_pixels(image, replace(geometry, crop=1.0))[:, ::-1])


def _ordered(records: Records, engine: Engine, work: Callable[[tuple[Record, ...]], list[_Found]]) -> Iterator[_Found]:
    """What was found of each record, in order; at most a few chunks are under way."""
    rows = records.rows
    chunks = [rows[place : place + engine.batch] for place in range(0, len(rows), engine.batch)]
    workers = max(2 * cores(), engine.lanes)  # more than cores: a worker that waits for a lane leaves its core to a decoder
    waiting: deque[Future[list[_Found]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) >= 4 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _work(chunk: tuple[Record, ...], spec: BackboneSpec, engine: Engine, store: Store | None, mirrored: bool) -> list[_Found]:
    found: list[_Found | None] = []
    pixels, places, facts = [], [], []
    for record in chunk:
        try:
            data = read_bytes(record.path)
            known = store.get(hashlib.sha256(data).hexdigest()) if store is not None else None
            if known is not None and len(known.features) == spec.width:
                found.append(_Found(known, warning=mismatch(Path(record.path).name, data)))
                continue
            picture = decode(data, Path(record.path).name, spec.geometry)
            pixels.append(second_look(picture.image, spec.geometry) if mirrored else to_pixels(picture.image, spec.geometry))
            places.append(len(found))
            facts.append(picture)
            found.append(None)
        except BadPicture as bad:
            found.append(_Found(None, bad=bad))
    if pixels:
        features: Float32 = engine.infer(np.stack(pixels))
        for place, seen, picture, row in zip(places, pixels, facts, features, strict=True):
            kept = Row(picture.sha256, picture.width, picture.height, likeness(seen), row)
            found[place] = _Found(kept, fresh=True, warning=picture.warning)
    return [one for one in found if one is not None]
