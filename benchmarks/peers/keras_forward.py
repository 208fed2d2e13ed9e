"""Pixels to logits by Keras on TensorFlow: a network of keras.applications and its own predict, with batches of 32."""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from common import tell
from forward import BATCH, pixels_of


def main() -> None:
    """Print the seconds of predict alone. Weights are random: they do not change the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--network", required=True)
    given = parser.parse_args()
    pixels = pixels_of(given.folder).astype("float32")
    network = getattr(keras.applications, given.network)(weights=None)
    network.predict(pixels[:BATCH], batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    network.predict(pixels, batch_size=BATCH, verbose=0)
    seconds = time.perf_counter() - start
    tell(seconds=seconds, images=len(pixels), images_per_second=len(pixels) / seconds)


if __name__ == "__main__":
    main()
