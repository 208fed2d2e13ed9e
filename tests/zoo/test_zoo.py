from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from topwork.errors import UnknownName, WeightsError
from topwork.features import engines
from topwork.pictures.decode import decode, read_bytes, to_pixels
from topwork.zoo import load_backbone
from topwork.zoo.spec import BackboneSpec


def test_unknown_names_tell_all_where_they_are_few_and_none_is_near() -> None:
    assert str(UnknownName("class", "Bombay", ["cat", "dog"])) == "Bombay: no such class. There is cat, dog."
    assert str(UnknownName("class", "dgo", ["cat", "dog"])).endswith("Did you mean dog?")
    assert str(UnknownName("layer", "Bombay", map(str, range(100)))) == "Bombay: no such layer."


def test_unknown_names_tell_the_nearest() -> None:
    with pytest.raises(UnknownName, match="resnet18"):
        load_backbone("timm:resnt18", "random")
    with pytest.raises(UnknownName, match="lite0"):
        load_backbone("lit0")


def test_a_timm_network_with_local_weights(tmp_path: Path) -> None:
    first = load_backbone("timm:mobilenetv3_small_050", "random")
    file = tmp_path / "w.safetensors"
    save_file(first.network.state_dict(), file)
    second = load_backbone("timm:mobilenetv3_small_050", str(file))
    assert first.spec.fingerprint == second.spec.fingerprint
    assert BackboneSpec.from_config(second.spec.to_config()) == second.spec
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(first(images), second(images))
    assert second(images).shape == (2, second.spec.width)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_backbone("timm:mobilenetv3_small_050", str(file))


def test_lite0_knows_real_photos_on_every_engine(photos: Path, tmp_path: Path) -> None:
    backbone = load_backbone("lite0")
    folders = sorted((photos / "imagenet-one-per-class").iterdir())
    right = 0
    pixels = []
    for folder in folders:
        file = next(iter(sorted(folder.glob("*.jpg"))))
        seen = to_pixels(decode(read_bytes(file), file.name).image, backbone.spec.geometry)
        pixels.append(seen)
    with torch.inference_mode():
        for place in range(0, len(folders), 50):
            images = torch.from_numpy(np.stack(pixels[place : place + 50])).permute(0, 3, 1, 2) / 255
            answers = backbone.logits(images).argmax(1).tolist()
            right += sum(int(f.name.split("-")[0]) == a for f, a in zip(folders[place : place + 50], answers, strict=True))
    assert right / len(folders) >= 0.82  # measured: 0.837
    engines.convert_openvino(backbone, tmp_path / "model.xml")
    fast = engines.OpenVinoEngine(tmp_path / "model.xml")
    some = pixels[:8]
    reference = engines.TorchEngine(backbone).infer(np.stack(some))
    found = np.concatenate([fast.infer(picture[None]) for picture in some])
    np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-3)


def test_onnxruntime_agrees(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    backbone = load_backbone("lite0")
    engines.export_onnx(backbone, tmp_path / "model.onnx")
    engine = engines.OnnxRuntimeEngine(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize((224, 224)))[None]
    np.testing.assert_allclose(engine.infer(pixels), engines.TorchEngine(backbone).infer(pixels), rtol=1e-3, atol=1e-3)
