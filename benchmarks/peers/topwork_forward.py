"""Pixels to features by topwork's own OpenVINO engine: the fastest precision this processor has, all lanes busy."""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import tell
from forward import pixels_of

from topwork.features import engines
from topwork.zoo import load_backbone


def main() -> None:
    """Print the seconds of the passes alone. Weights are random: they do not change the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--network", required=True)
    given = parser.parse_args()
    pixels = pixels_of(given.folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        engines.convert_openvino(load_backbone(given.network, "random"), Path(folder) / "model.xml")
        engine = engines.OpenVinoEngine(Path(folder) / "model.xml", engines.openvino_precisions()[-1])
        engine.infer(pixels[:1])
        start = time.perf_counter()
        with ThreadPoolExecutor(engine.lanes) as pool:
            done = sum(len(one) for one in pool.map(engine.infer, [pixels[place : place + 1] for place in range(len(pixels))]))
        seconds = time.perf_counter() - start
    tell(seconds=seconds, images=done, images_per_second=done / seconds, engine=f"openvino {engine.precision}")


if __name__ == "__main__":
    main()
