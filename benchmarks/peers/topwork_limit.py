"""The limit of folder to features: topwork's decoder alone and its engine alone, in core-seconds per picture.

Processor time is counted, not the clock: a limit must not fall because something else runs on the machine.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import tell

from topwork.features.choose import open_engine
from topwork.features.engines import Engine
from topwork.pictures.decode import BadPicture, Geometry, Pixels, decode, read_bytes, to_pixels
from topwork.runtime import cores

ENGINE_PICTURES = 600
"""At most this many pictures go through the engine alone."""


def decode_all(files: list[Path], geometry: Geometry) -> tuple[list[Pixels], float]:
    """Pixels of the files that can be read, and the core-seconds per picture of one thread."""
    pixels = []
    start = time.thread_time()
    for file in files:
        try:
            pixels.append(to_pixels(decode(read_bytes(file), file.name, geometry).image, geometry))
        except BadPicture:
            continue
    return pixels, (time.thread_time() - start) / max(len(pixels), 1)


def engine_seconds(engine: Engine, pixels: list[Pixels]) -> float:
    """Core-seconds per picture of the engine with all its lanes busy, over pixels made before."""
    batches = [np.stack(pixels[place : place + engine.batch]) for place in range(0, len(pixels), engine.batch)]
    with ThreadPoolExecutor(engine.lanes) as pool:
        list(pool.map(engine.infer, batches[: 4 * engine.lanes]))  # first calls allocate
        start = time.process_time()
        list(pool.map(engine.infer, batches))
        return (time.process_time() - start) / len(pixels)


def main() -> None:
    """Print both, and the pictures per second that they allow together on all cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="lite0")
    given = parser.parse_args()

    start = time.perf_counter()
    chosen = open_engine(given.backbone)  # what `topwork embed` chose before, from the same cache folder
    geometry = chosen.spec.geometry
    files = sorted(path for path in given.folder.rglob("*") if path.is_file())
    decode_all(files[:16], geometry)
    pixels, decoding = decode_all(files, geometry)
    running = engine_seconds(chosen.engine, pixels[:ENGINE_PICTURES])
    tell(
        seconds=time.perf_counter() - start,
        images=len(pixels),
        decode_core_seconds=decoding,
        engine_core_seconds=running,
        cores=cores(),
        limit_images_per_second=cores() / (decoding + running),
        engine=f"{chosen.engine.name} {chosen.engine.precision}",
    )


if __name__ == "__main__":
    main()
