"""State dicts of torchvision's networks in timm's: the same answers, whatever the tensors are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from topwork.errors import WeightsError
from topwork.pictures.decode import to_pixels
from topwork.zoo import load_backbone
from topwork.zoo.weights.matching import plain_names
from topwork.zoo.weights.torchvision_names import torchvision_plan

NAMES = {
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    **{f"vgg{depth}{norm}": f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")},
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
}
"""timm's name of a network: torchvision's."""


def network(name: str) -> nn.Module:
    """A network of torchvision with random weights that keep their scale, and small variances, so that an epsilon shows."""
    torch.manual_seed(0)
    made: nn.Module = torchvision.models.get_model(NAMES[name], weights=None)
    for layer in made.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.2 if "mobilenet" in name else 1.0)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    made.train()
    with torch.no_grad():
        made(torch.rand(4, 3, 96, 96))
    return made.eval()


def drawn() -> torch.Tensor:
    """A drawn picture as images (1, 3, 224, 224)."""
    rows, columns = np.mgrid[:240, :320]
    pixels = np.stack([rows, columns * 255 // 320, (rows * columns) % 256], axis=-1).astype(np.uint8)
    seen = to_pixels(Image.fromarray(pixels), load_backbone("timm:resnet18", "random").spec.geometry)
    return torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255


def agrees(name: str, folder: Path, **saved: bool) -> float:
    """The largest difference between torchvision's logits and ours, as a share of their spread."""
    theirs = network(name)
    file = folder / f"{name}.pth"
    torch.save(theirs.state_dict(), file, **saved)
    ours = load_backbone(f"timm:{name}", str(file))
    images = drawn()
    with torch.inference_mode():
        expected = theirs((images - ours.mean) / ours.std)
        found = ours.logits(images)
    assert expected.std() > 1e-3  # a network that answers nothing would agree with everything
    return float((found - expected).abs().max() / expected.std())


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100"])
def test_the_same_logits(name: str, tmp_path: Path) -> None:
    assert agrees(name, tmp_path) < 1e-4


@pytest.mark.full
@pytest.mark.parametrize("name", ["vgg16", "vgg19_bn", "resnet50"])
def test_the_same_logits_of_large_networks(name: str, tmp_path: Path) -> None:
    assert agrees(name, tmp_path) < 1e-4


def test_the_epsilon_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its share of the variances the same file gives other answers: what the test above would not forgive."""
    monkeypatch.setattr("topwork.zoo.weights.torchvision_names._V3_EPSILON", 1e-5)
    assert agrees("mobilenetv3_small_100", tmp_path) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_name_and_shape_has_its_place(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(NAMES[name], weights=None).state_dict()
        ours = timm.create_model(name).state_dict()
    names = plain_names(theirs, ours)
    plan = torchvision_plan(name, ours, names, 1e-5)
    if plan is None:  # the same names
        assert name.startswith("resnet")
        assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in ours.items()}
        return
    assert plan.keys() == ours.keys()
    assert sorted(taken.name for taken in plan.values()) == sorted(theirs)
    for key, taken in plan.items():
        if taken.reshape:
            assert theirs[taken.name].numel() == ours[key].numel()
        else:
            assert theirs[taken.name].shape == ours[key].shape


def test_another_network_of_the_same_shapes_does_not_take_them(tmp_path: Path) -> None:
    """tf_mobilenetv3_large_100 has the very shapes, but pads otherwise."""
    torch.save(network("mobilenetv3_large_100").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"does not fit tf_mobilenetv3_large_100"):
        load_backbone("timm:tf_mobilenetv3_large_100", str(tmp_path / "w.pth"))
