"""What layers see: maps are the layers' own outputs, and what is drawn of them means what it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from topwork.errors import InputError, UnknownName
from topwork.look.colours import main_directions, strongest
from topwork.look.maps import as_maps, first_filters, layer_maps, layers, stage_layers
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_maps_of_the_stages_pool_to_the_features(lite0: Backbone, image: torch.Tensor) -> None:
    names = [name for name, _ in lite0.spec.stages]
    maps = layer_maps(lite0, image, names)
    pooled = np.concatenate([maps[name].mean((1, 2)) for name in names])
    with torch.no_grad():
        features = lite0(image)[0, : len(pooled)].numpy()
    assert np.allclose(pooled, features, atol=1e-4)


def test_stages_are_in_order_of_depth(lite0: Backbone, image: torch.Tensor) -> None:
    names = stage_layers(lite0, image)
    assert names == sorted(names) and len(names) == 6 and names[-1] == "blocks.6"


def test_tokens_are_laid_out_as_patches(image: torch.Tensor) -> None:
    vit = load_backbone("timm:vit_tiny_patch16_224", "random")
    maps = layer_maps(vit, image, ["patch_embed", "blocks.3"])
    assert maps["blocks.3"].shape == (192, 14, 14)
    with torch.no_grad():
        direct = vit.network.patch_embed.proj((image - vit.mean) / vit.std)[0]
    assert np.allclose(maps["patch_embed"], direct.numpy(), atol=1e-4)


def test_the_strongest_channel_is_the_one_that_stands_out() -> None:
    maps = np.zeros((5, 4, 4), np.float32)
    maps[1] = 9  # large everywhere, and so nothing of this picture
    maps[3, 2, 2] = 4
    maps[2, 0, 0] = 1
    assert strongest(maps, 2) == [3, 2]


def test_main_directions_give_alike_places_alike_colours() -> None:
    rng = np.random.default_rng(0)
    kinds = np.arange(64).reshape(8, 8) // 24  # three regions
    prototypes = rng.normal(size=(3, 12)).astype(np.float32)
    maps = prototypes[kinds].transpose(2, 0, 1) + 0.01 * rng.normal(size=(12, 8, 8)).astype(np.float32)
    colours = main_directions(maps).astype(float)
    means = np.stack([colours[kinds == kind].mean(0) for kind in range(3)])
    within = max(np.abs(colours[kinds == kind][:, :2] - means[kind, :2]).max() for kind in range(3))
    between = min(np.abs(means[a, :2] - means[b, :2]).max() for a, b in ((0, 1), (0, 2), (1, 2)))
    assert within < 20 < 60 < between


def test_first_filters_are_the_layers_weights(lite0: Backbone) -> None:
    filters = first_filters(lite0, 4)
    weight = lite0.network.conv_stem.weight[0].permute(1, 2, 0).numpy()
    assert filters[0].shape == (3, 3, 3) and filters[0].min() == 0 and filters[0].max() == 1
    assert np.corrcoef(filters[0].reshape(-1), weight.reshape(-1))[0, 1] > 0.9999


def test_the_list_of_layers_has_shapes(lite0: Backbone) -> None:
    found = {layer.name: layer for layer in layers(lite0)}
    assert found["conv_stem"].shape == (32, 112, 112)
    assert found["classifier"].shape == (1000,) if "classifier" in found else found["global_pool"].shape == (1280,)


def test_layers_that_cannot_be_shown_are_told(lite0: Backbone, image: torch.Tensor) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean blocks\.3"):
        layer_maps(lite0, image, ["block.3"])
    with pytest.raises(InputError, match="no height and width"):
        layer_maps(lite0, image, ["global_pool"])


def test_what_is_square_tells_where_the_channels_are() -> None:
    def network(**how: object) -> Backbone:
        return cast(Backbone, SimpleNamespace(network=SimpleNamespace(**how)))

    first, last = network(), network(output_fmt="NHWC")
    for one in (first, last, network(channels_last=True)):
        assert as_maps(one, torch.zeros(1, 96, 56, 56)).shape == (1, 96, 56, 56)  # type: ignore[union-attr]
        assert as_maps(one, torch.zeros(1, 7, 7, 768)).shape == (1, 768, 7, 7)  # type: ignore[union-attr]
        assert as_maps(one, torch.zeros(1, 8, 257, 64)) is None  # heads of attention
        assert as_maps(one, torch.zeros(64, 49, 96)) is None  # windows
        assert as_maps(one, torch.zeros(1, 512, 1, 1)) is None and as_maps(one, torch.zeros(1, 1, 1, 512)) is None
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    assert torch.equal(as_maps(first, cube), cube)  # type: ignore[arg-type]
    assert torch.equal(as_maps(last, cube), cube.permute(0, 3, 1, 2))  # type: ignore[arg-type]


def test_what_follows_a_layer_does_not_change_what_is_shown(image: torch.Tensor) -> None:
    network = load_backbone("timm:resnet18", "random")
    maps = layer_maps(network, image, ["bn1"])["bn1"]  # a rectifier that works in place follows
    assert maps.min() < 0 < maps.max()
