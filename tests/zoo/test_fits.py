"""A classifier on each kind of backbone, from a local weight file: fitted, saved, loaded without torch, rebuilt by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from seen import least_cosine, photo_files, seen_pixels

from running import Cli
from topwork.features import engines
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone

pytestmark = [
    pytest.mark.photos,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras itself, when it saves
]

QUICK = {"mobilenet": "safetensors", "keras:MobileNetV2": "weights.h5"}
MORE = {
    "vgg16": "pth",
    "vgg19": "safetensors",
    "resnet50": "pth",
    "vit_small": "safetensors",
    "dinov2_small": "pth",
    "efficientnet_b0": "pth",
    "convnext_tiny": "safetensors",
    "keras:VGG16": "h5",
    "keras:ResNet50": "h5",
    "keras:EfficientNetB0": "weights.h5",
    "keras:DenseNet121": "h5",
}

WITHOUT_TORCH = """
import sys
for name in ("torch", "timm", "keras", "torchvision"):
    sys.modules[name] = None
from topwork.commands.app import run
sys.exit(run(sys.argv[1:]))
"""


def written(backbone: Backbone, kind: str, folder: Path) -> Path:
    """The backbone's weights as a user would have them: from a library's own way of saving."""
    file = folder / f"network.{kind}"
    if kind == "safetensors":
        save_file(backbone.network.state_dict(), file)
    elif kind == "pth":
        torch.save(backbone.network.state_dict(), file)
    elif kind == "weights.h5":
        backbone.network.whole.save_weights(str(file))
    else:
        from test_keras import legacy_file

        legacy_file(backbone.network.whole, file)
    return file


def linked(photos: Path, folder: Path, count: int) -> Path:
    """A few cats and dogs as links."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for file in sorted((photos / "cats-vs-dogs" / "train" / label).iterdir())[:count]:
            (folder / label / file.name).symlink_to(file)
    return folder


@pytest.mark.parametrize(
    ("name", "kind"), [*QUICK.items(), *(pytest.param(*one, marks=pytest.mark.full) for one in MORE.items())]
)
def test_fit_predict_and_rebuild(name: str, kind: str, photos: Path, tmp_path: Path, cli: Cli) -> None:
    backbone = load_backbone(name, "random")
    weights = written(backbone, kind, tmp_path)
    pictures = linked(photos, tmp_path / "photos", 30)
    bundle = tmp_path / "x.topwork"
    done = cli("fit", pictures, "-o", bundle, "-b", name, "--weights", weights, "--engine", "openvino", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["backbone"] == name

    # the engine gives torch's numbers, on photos
    files = photo_files(photos, 4)
    pixels = seen_pixels(files, backbone.spec.geometry)
    fast = engines.OpenVinoEngine(bundle / "model.xml")
    found = np.concatenate([fast.infer(picture[None]) for picture in pixels])
    reference = engines.TorchEngine(backbone).infer(pixels)
    for view in backbone.spec.views.values():
        assert least_cosine(found[:, view], reference[:, view]) >= 0.9999

    # without torch, timm and Keras the bundle answers the same
    here = cli("predict", bundle, *files, "--json")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(bundle), *map(str, files), "--json"]
    there = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert there.returncode == 0, there.stderr
    answers = [json.loads(text)["predictions"] for text in (here.out, there.stdout)]
    assert answers[0] == answers[1] and len(answers[0]) == len(files)

    # and the backbone comes back from the bundle's own file
    again = load_backbone(name, str(bundle / "backbone.safetensors"))
    assert again.spec.fingerprint == backbone.spec.fingerprint
    if name == "mobilenet":
        assert cli("fit", pictures, "-o", bundle, "-b", name, "--weights", tmp_path / "missing.h5").code == 1
