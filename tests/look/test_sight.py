"""What is kept of a network says what torch says, and saves importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from running import Cli
from topwork import Classifier
from topwork.frozen import rules
from topwork.grafted import Grafted, grafted
from topwork.look.attribution import gradcam
from topwork.look.maps import layer_maps, stage_layers
from topwork.look.opening import open_reasons, open_stages
from topwork.look.sight import Reasons
from topwork.look.traced import Traced, traced_reasons, traced_stages
from topwork.zoo import load_backbone

SMALL = ["timm:test_efficientnet", "timm:test_vit", "timm:test_resnet", "timm:test_convnext"]


def noise(size: int, seed: int = 1) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def reasons_of(network: Grafted) -> tuple[Reasons, Traced]:
    traced = traced_reasons(network)
    told = traced.told
    return Reasons(network.spec, network.classes, told["mirrored"], told["layer"], traced.asks), traced


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_says_what_torch_says(name: str) -> None:
    network = grafted(load_backbone(name, "random"))
    image = noise(network.spec.geometry.size)
    reasons, traced = reasons_of(network)
    assert traced.model is not None
    linear = torch.nn.functional.one_hot(network(image)[0].argmax(), len(network.classes)).float()
    found, wanted = reasons.gradcam(image[0].numpy(), linear.numpy()), gradcam(network, image, linear)
    assert found.layer == wanted.layer
    assert np.allclose(found.values, wanted.values, atol=1e-3 * wanted.values.max())
    logits = reasons.logits(image[0].numpy(), image[0].numpy())
    assert np.allclose(logits, network(image)[0].numpy(), atol=1e-3)
    stages = traced_stages(network.backbone)
    maps = stages.asks(image.numpy())
    assert stages.model is not None and list(maps) == stage_layers(network.backbone, image)
    for layer, values in layer_maps(network.backbone, image, list(maps)).items():
        assert np.allclose(maps[layer][0], values, atol=1e-3 * np.abs(values).max())


def test_a_head_of_two_looks_is_asked_with_both() -> None:
    torch.manual_seed(0)
    backbone = load_backbone("timm:test_efficientnet", "random")
    network = Grafted(backbone, nn.Linear(backbone.spec.width, 3), ("a", "b", "c"), mirrored=True)
    image, second = noise(backbone.spec.geometry.size), noise(backbone.spec.geometry.size, 5)
    image[:, :, :, 100:] *= 0.2
    reasons, traced = reasons_of(network)
    linear = torch.tensor([0.0, 1.0, -1.0])
    assert traced.model is not None and reasons.mirrored
    found, wanted = reasons.gradcam(image[0].numpy(), linear.numpy()), gradcam(network, image, linear)
    assert np.allclose(found.values, wanted.values, atol=1e-3 * wanted.values.max())
    assert np.allclose(reasons.logits(image[0].numpy(), second[0].numpy()), network(image, second)[0].numpy(), atol=1e-3)


def test_without_a_rule_torch_says_it(monkeypatch: pytest.MonkeyPatch, own_cache: None, tmp_path: Path) -> None:
    monkeypatch.delitem(rules.RULES, torch.ops.aten.convolution.default)
    stages, reasons = (opened("timm:test_efficientnet", "random") for opened in (open_stages, open_reasons))
    image = noise(reasons.spec.geometry.size)
    network = grafted(load_backbone("timm:test_efficientnet", "random"))
    linear = torch.nn.functional.one_hot(torch.tensor(7), 1000).float()
    assert np.array_equal(reasons.gradcam(image[0].numpy(), linear.numpy()).values, gradcam(network, image, linear).values)
    assert list(stages.maps(image[0].numpy())) == list(stages.names)
    assert not list((tmp_path / "cache").rglob("graph.xml"))


def test_other_weights_and_other_heads_are_kept_apart(own_cache: None, bundle: Path) -> None:
    classifier = Classifier.load(bundle)
    image = noise(classifier.spec.geometry.size)[0].numpy()
    mine, drawn = open_reasons(classifier), open_reasons("timm:tf_efficientnet_lite0", "random")
    own = open_reasons("lite0")
    assert mine.classes == classifier.classes and len(own.classes) == 1000
    assert np.abs(own.logits(image, image) - drawn.logits(image, image)).max() > 0.1


def test_a_kept_graph_is_used_again_and_a_damaged_one_is_not(own_cache: None, tmp_path: Path) -> None:
    def asked() -> Path:
        open_stages("timm:test_efficientnet", "random")
        (file,) = (tmp_path / "cache" / "sights").glob("*/graph.bin")
        return file

    made = asked().stat().st_mtime_ns
    assert asked().stat().st_mtime_ns == made
    data = bytearray(asked().read_bytes())
    data[len(data) // 2] ^= 1
    (file,) = (tmp_path / "cache" / "sights").glob("*/graph.bin")
    file.write_bytes(data)
    assert asked().read_bytes() != bytes(data)


@pytest.mark.parametrize("command", ["look", "explain", "explain --method smoothgrad --check", "explain --method occlusion"])
def test_the_second_time_no_torch_is_imported(
    command: str, bundle: Path, painted: Path, tmp_path: Path, warm: Path, cli: Cli
) -> None:
    picture = painted / "red bars" / "03.png"
    name, *settings = command.split()
    assert cli(name, bundle, picture, "-o", tmp_path / "first.png", *settings).code == 0
    words = [name, *settings, str(bundle), str(picture), "-o", str(tmp_path / "again.png")]
    script = f"import sys; from topwork.commands.app import run; print(run({words!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 False\n")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "first.png").read_bytes()
