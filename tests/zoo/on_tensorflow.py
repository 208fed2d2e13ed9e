"""Run by an interpreter that has TensorFlow: features and logits of a network of Keras, for the test beside this file.

python on_tensorflow.py NAME FAMILY WEIGHTS.weights.h5 PIXELS.npy OUT.npz
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras.src.utils import file_utils


def main(name: str, family: str, weights: str, pixels: str, out: str) -> None:
    """Write the input of the classifier and the logits, as Keras on TensorFlow computes them."""
    file_utils.get_file = lambda *_, **__: weights  # the network as for the published weights, with these in their place
    network = getattr(keras.applications, name)(weights="imagenet", classifier_activation=None)
    classifier = [layer for layer in network.layers if layer.weights][-1]
    both = keras.Model(network.inputs, [classifier.input, network.outputs[0]])
    images = getattr(keras.applications, family).preprocess_input(np.load(pixels).astype(np.float32))
    features, logits = both.predict(images, verbose=0)
    np.savez(out, features=features.reshape(len(features), -1), logits=logits)


if __name__ == "__main__":
    main(*sys.argv[1:])
