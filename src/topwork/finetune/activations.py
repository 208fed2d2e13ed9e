"""What the frozen part makes of pictures: each view through the fast engine once, kept on scratch disk, read by the batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topwork.errors import InputError
from topwork.features.engines import Engine
from topwork.finetune.augment import Look, view
from topwork.finetune.scratch import Scratch
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes
from topwork.pictures.reasons import BadPicture
from topwork.runtime import cores

Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass
class Activations:
    """Rows of N pictures in V views, made when first asked for; pictures from `plain_from` on have the plain view alone."""

    paths: Sequence[Path]
    engine: Engine | None
    """Runs the frozen part; None keeps the pixels themselves, as bytes."""
    geometry: Geometry
    look: Look
    views: int
    plain_from: int
    scratch: Scratch
    parts: list[tuple[int, int]]
    """(start, stop) of what a batch takes of a row."""
    seconds: float = 0.0
    """Spent on making rows."""
    made: int = 0
    layout: tuple[int, int, int, int] | None = None
    """(start, height, width, channels) of the maps in a row of a batch, where there are any."""
    progress: Progress | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Numbers in a row of a batch."""
        return sum(stop - start for start, stop in self.parts)

    def slots(self, pictures: Rows, views: Rows) -> Rows:
        """Place (n,) of each (picture, view) in the scratch file."""
        plain = self.plain_from * self.views + pictures - self.plain_from
        return np.where(pictures < self.plain_from, pictures * self.views + views, plain)

    def ensure(self, pictures: Rows, views: Rows) -> None:
        """Make the rows that are not there yet. Raises StorageError on a full disk, InputError when a picture is gone."""
        slots = self.slots(pictures, views)
        missing = np.flatnonzero(~self.scratch.written[slots])
        if not len(missing):
            return
        start = time.perf_counter()
        for done, (place, row) in enumerate(self._made([(int(pictures[m]), int(views[m])) for m in missing]), 1):
            self.scratch.write(int(slots[missing[place]]), row)
            if self.progress is not None:
                self.progress(done, len(missing))
        self.made += len(missing)
        self.seconds += time.perf_counter() - start

    def batch(self, pictures: Rows, views: Rows) -> Tensor:
        """Rows (n, width), float32, or bytes where no engine runs."""
        slots = self.slots(pictures, views)
        whole = np.empty((len(slots), self.scratch.width), self.scratch.dtype)
        self.scratch.read_into(slots, whole)
        pieces = [whole[:, start:stop] for start, stop in self.parts]
        kept = np.concatenate(pieces, 1) if len(pieces) > 1 else pieces[0]
        rows = torch.empty(kept.shape, dtype=torch.uint8 if kept.dtype == np.uint8 else torch.float32)
        rows.numpy()[...] = kept  # torch's own memory, so that its alignment never differs
        return rows

    def _made(self, wanted: list[tuple[int, int]]) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """(place in `wanted`, row), in order."""
        size = 1 if self.engine is None else self.engine.batch
        workers = max(2 * cores(), 1 if self.engine is None else self.engine.lanes)
        waiting: deque[Future[list[NDArray[np.generic]]]] = deque()
        place = 0
        with ThreadPoolExecutor(workers) as pool:
            try:
                for start in range(0, len(wanted), size):
                    waiting.append(pool.submit(self._work, wanted[start : start + size]))
                    if len(waiting) >= 4 * workers:
                        for row in waiting.popleft().result():
                            yield place, row
                            place += 1
                while waiting:
                    for row in waiting.popleft().result():
                        yield place, row
                        place += 1
            finally:
                for future in waiting:
                    future.cancel()

    def _work(self, chunk: list[tuple[int, int]]) -> list[NDArray[np.generic]]:
        pixels = [self._pixels(picture, number) for picture, number in chunk]
        if self.engine is None:
            return [one.reshape(-1) for one in pixels]
        return list(self.engine.infer(np.stack(pixels)))

    def _pixels(self, picture: int, number: int) -> Pixels:
        path = self.paths[picture]
        try:
            image = decode(read_bytes(path), wanted=self.geometry).image
        except BadPicture as bad:
            raise InputError(f"{path}: changed while it was read ({bad.reason.value}: {bad.detail}). Run again.") from bad
        return view(image, self.geometry, self.look, number, picture)
