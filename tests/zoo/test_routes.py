"""Right by proof: a file's way to logits is the library's own way, for each mode of preprocessing, on real photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from seen import least_cosine, photo_files, seen_pixels

from topwork.features import engines
from topwork.pictures.decode import decode, read_bytes
from topwork.zoo import from_keras, load_backbone
from topwork.zoo.backbone import Backbone
from topwork.zoo.keras_table import APPLICATIONS
from topwork.zoo.spec import BackboneSpec

pytestmark = [
    pytest.mark.photos,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras itself, when it saves
]

ON_KERAS = {  # by the mode of preprocessing
    "caffe": ["ResNet50"],
    "tf": ["MobileNetV2"],
    "torch": ["DenseNet121"],
    "none": ["MobileNetV3Small", "EfficientNetB0"],
}
MORE_ON_KERAS = sorted(APPLICATIONS.keys() - {name for names in ON_KERAS.values() for name in names})

ON_TIMM = [
    "lite0",  # bicubic, the middle 87.5 %, mean and std 0.5, real weights
    "timm:resnet18.tv_in1k",  # bilinear, ImageNet's mean and std
    "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",  # the middle 90 %
    "timm:tf_efficientnetv2_b3.in21k_ft_in1k",  # squashed, then the middle 90 %
    "timm:convnext_atto.d2_in1k",  # the middle 95 %
]


def logits_of(backbone: Backbone, pixels: Any) -> Any:
    with torch.no_grad():
        return backbone.logits(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).numpy()


def same_logits(found: Any, expected: Any) -> None:
    """Equal to 1e-4, and far nearer than two photos are: random weights may say much the same of all photos."""
    apart = float(np.abs(found - expected).max())
    assert apart <= 1e-4 * max(1.0, float(np.abs(expected).max()))
    assert apart <= 1e-2 * float(np.abs(expected[0] - expected[1]).max())


def check_engine(backbone: Backbone, pixels: Any, folder: Path) -> None:
    """OpenVINO's features are torch's."""
    engines.convert_openvino(backbone, folder / "model.xml")
    engine = engines.OpenVinoEngine(folder / "model.xml")
    found = np.concatenate([engine.infer(picture[None]) for picture in pixels])
    reference = engines.TorchEngine(backbone).infer(pixels)
    for view in backbone.spec.views.values():
        assert least_cosine(found[:, view], reference[:, view]) >= 0.9999


def kerass_own(name: str, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keras's own network as it builds it for its published weights, with those of `weights` in their place."""
    from keras.src.utils import file_utils

    keras = from_keras._keras()
    assert keras.config.image_data_format() == "channels_last"
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(weights))
    return getattr(keras.applications, name)(weights="imagenet", classifier_activation=None)


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")  # MobileNets say so when their size is left to them
@pytest.mark.parametrize(
    "name",
    [
        *(name for names in ON_KERAS.values() for name in names),
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in MORE_ON_KERAS
            if not name.endswith(("Large", "XLarge", "B6", "B7"))
        ),
    ],
)
def test_a_file_reaches_keras_logits(name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through our decoder, resize, normalisation and network; against Keras's network and its preprocess_input."""
    first = load_backbone(f"keras:{name}", "random")
    weights = tmp_path / "network.weights.h5"
    first.network.whole.save_weights(str(weights))
    backbone = load_backbone(f"keras:{name}", str(weights))
    pixels = seen_pixels(photo_files(photos, 3), backbone.spec.geometry)
    own = kerass_own(name, weights, monkeypatch)
    module = getattr(from_keras._keras().applications, APPLICATIONS[name].family)
    with torch.no_grad():
        expected = own(module.preprocess_input(pixels.astype(np.float32)), training=False).numpy()
    same_logits(logits_of(backbone, pixels), expected)
    check_engine(backbone, pixels, tmp_path)


def ready_photos(photos: Path, spec: BackboneSpec, folder: Path) -> list[Path]:
    """Photos whose shorter side is what timm's transform resizes to, so that both sides see the same pixels."""
    side = round(spec.geometry.size / spec.geometry.crop)
    files = []
    for file in photo_files(photos, 4):
        image = decode(read_bytes(file), file.name).image
        scale = side / min(image.size)
        longer = round(max(image.size) * scale / 2) * 2 + side % 2  # the margin cut off on both sides is whole pixels
        size = (side, longer) if image.width < image.height else (longer, side)
        size = (side, side) if spec.geometry.mode == "squash" else size
        files.append(folder / f"{file.stem}.png")
        image.resize(size, Image.Resampling.BICUBIC).save(files[-1])
    return files


@pytest.mark.parametrize("name", ON_TIMM)
def test_a_file_reaches_timms_logits(name: str, photos: Path, tmp_path: Path) -> None:
    """Through our decoder, crop, normalisation and network; against timm's transform and timm's network."""
    backbone = load_backbone(name, "pretrained" if name == "lite0" else "random")
    files = ready_photos(photos, backbone.spec, tmp_path)
    network = timm.create_model(backbone.spec.architecture).eval()
    network.load_state_dict(backbone.network.state_dict())
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        expected = network(images).numpy()
    pixels = seen_pixels(files, backbone.spec.geometry)
    torch.testing.assert_close(backbone.normalised(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255), images)
    same_logits(logits_of(backbone, pixels), expected)
    check_engine(backbone, pixels, tmp_path)


def test_photos_as_they_are_look_to_lite0_as_through_timms_transform(photos: Path) -> None:
    """Ours crops and resizes in one pass, timm's resizes to whole pixels, then crops: nearly equal pixels, the same answers."""
    backbone = load_backbone("lite0")
    files = photo_files(photos, 30)
    network = timm.create_model(backbone.spec.architecture).eval()
    network.load_state_dict(backbone.network.state_dict())
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    with torch.no_grad():
        expected = network(torch.stack([transform(Image.open(file).convert("RGB")) for file in files])).numpy()
    found = logits_of(backbone, seen_pixels(files, backbone.spec.geometry))
    assert least_cosine(found, expected) > 0.95
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.9


@pytest.mark.parametrize(("name", "least"), [("lite0", 0.82), ("lite1", 0.82), ("lite2", 0.82)])
def test_real_weights_know_real_photos(name: str, least: float, photos: Path, tmp_path: Path) -> None:
    """One photo of each of 300 ImageNet classes."""
    backbone = load_backbone(name)
    engines.convert_openvino(backbone, tmp_path / "model.xml")
    engine = engines.OpenVinoEngine(tmp_path / "model.xml")
    files = photo_files(photos, 300)
    answers = np.concatenate([engine.infer(seen_pixels([file], backbone.spec.geometry)) for file in files])
    answers = answers[:, -backbone.spec.answers :].argmax(1)
    truth = np.array([int(file.parent.name.partition("-")[0]) for file in files])
    assert len(truth) == 300
    assert (answers == truth).mean() >= least, (answers == truth).mean()
