"""Folder to features by Keras's usual recipe: MobileNetV2 on TensorFlow, image_dataset_from_directory, predict."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from common import tell


def main() -> None:
    """Print the seconds from files to features; imports and making the network are not in them. Weights are random."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()

    network = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # Keras tells on stdout how many files it found
        dataset = keras.utils.image_dataset_from_directory(
            given.folder, image_size=(224, 224), batch_size=given.batch_size, shuffle=False
        )
        prepared = dataset.map(lambda images, _: keras.applications.mobilenet_v2.preprocess_input(images))
        features = network.predict(prepared, verbose=0)
    seconds = time.perf_counter() - start
    tell(seconds=seconds, images=len(features), images_per_second=len(features) / seconds, dim=features.shape[1])


if __name__ == "__main__":
    main()
