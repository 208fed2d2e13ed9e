"""A network of Keras gives on torch what it gives on TensorFlow, with the same weights and photos.

TOPWORK_TENSORFLOW_PYTHON names an interpreter with keras and tensorflow; `make test-full` makes one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from seen import photo_files, seen_pixels

from topwork.zoo import load_backbone
from topwork.zoo.keras_table import APPLICATIONS

pytestmark = [
    pytest.mark.full,
    pytest.mark.photos,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras itself, when it saves
]


@pytest.mark.parametrize(
    "name", ["VGG16", "ResNet50", "MobileNetV2", "DenseNet121", "EfficientNetB0", "MobileNetV3Small", "ConvNeXtTiny"]
)
def test_features_and_logits_are_those_of_tensorflow(name: str, photos: Path, tmp_path: Path) -> None:
    python = os.environ.get("TOPWORK_TENSORFLOW_PYTHON", "")
    if not Path(python).is_file():
        pytest.skip("TOPWORK_TENSORFLOW_PYTHON names no interpreter that has TensorFlow")
    backbone = load_backbone(f"keras:{name}", "random")
    weights = tmp_path / "network.weights.h5"
    backbone.network.whole.save_weights(str(weights))
    pixels = seen_pixels(photo_files(photos, 3), backbone.spec.geometry)
    np.save(tmp_path / "pixels.npy", pixels)
    script = Path(__file__).with_name("on_tensorflow.py")
    words = [python, script, name, APPLICATIONS[name].family, weights, tmp_path / "pixels.npy", tmp_path / "out.npz"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KERAS"))}
    environment["KERAS_HOME"] = str(tmp_path / "keras")
    done = subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = backbone(images)[:, backbone.spec.views["last"]].numpy()
        logits = backbone.logits(images).numpy()
    with np.load(tmp_path / "out.npz") as other:
        for found, expected in ((features, other["features"]), (logits, other["logits"])):
            scale = float(np.abs(expected).max())
            assert float(np.abs(expected[0] - expected[1]).max()) > 1e-2 * scale  # photos that look alike would prove nothing
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)
