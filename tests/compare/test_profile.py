"""The distance at a layer: what it is of two normal distributions, what chance does to it, and where it is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from topwork.compare.profile import hellinger, layer_distance, open_profiler, profile
from topwork.features.choose import open_engine


def test_hellinger_equals_the_integral_of_the_two_densities() -> None:
    x = np.linspace(-60, 60, 400_001)

    def density(mean: float, variance: float) -> np.ndarray:
        return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

    for first, second in (((0, 1), (0, 1)), ((0, 1), (2, 1)), ((1, 4), (-1, 0.5)), ((0, 9), (0, 1))):
        both = np.sqrt(density(*first) * density(*second))
        found = hellinger(*(np.array([float(one)]) for one in (*first, *second)))
        assert found[0] == pytest.approx(1 - both.sum() * (x[1] - x[0]), abs=2e-3)


@pytest.mark.parametrize("count", [12, 100, 1000])
def test_pictures_like_the_training_ones_are_near_however_few(count: int) -> None:
    """200 channels, pictures that differ from each other as much as their places do."""
    rng = np.random.default_rng(count)
    mean, between, within = rng.standard_normal(200), rng.uniform(0.2, 1, 200), rng.uniform(0.2, 1, 200)
    means = mean + np.sqrt(between) * rng.standard_normal((count, 200))
    squares = means**2 + within
    assert layer_distance(means, squares, mean, between + within) < 0.012
    moved = means + 1.5 * np.sqrt(between + within)
    assert layer_distance(moved, moved**2 + within, mean, between + within) > 0.2


def test_one_picture_is_enough_to_ask() -> None:
    assert 0 <= layer_distance(np.zeros((1, 4)), np.ones((1, 4)), np.zeros(4), np.ones(4)) < 1e-6


@pytest.mark.usefixtures("warm")
def test_statistics_are_those_of_the_network(warm: Path) -> None:
    """Against hooks on the torch network: every layer's mean and mean square, the engine's and torch's."""
    from topwork.zoo import load_backbone

    chosen = open_engine("lite0")
    profiler = open_profiler(chosen)
    assert profiler is not None and open_profiler(chosen).layers[0].name == profiler.layers[0].name  # type: ignore[union-attr]
    assert [*warm.glob("engines/*-profile/profile.json")] or chosen.engine.name == "torch"
    backbone = load_backbone("lite0")
    pixels = list(np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8))
    found = profiler.statistics(pixels)
    kept: dict[str, torch.Tensor] = {}
    for name, layer in backbone.network.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _, inputs, name=name: kept.update({name: inputs[0]}))
    with torch.inference_mode():
        backbone(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255)
    assert len(profiler.layers) == len(kept) == 49
    place = 0
    for layer in profiler.layers:
        values, width = kept[layer.name], len(layer.mean)
        true = torch.cat([values.mean((2, 3)), values.square().mean((2, 3))], 1).numpy()
        np.testing.assert_allclose(found[:, place : place + 2 * width], true, rtol=2e-2, atol=2e-2)
        own = backbone.network.get_submodule(layer.name)
        np.testing.assert_allclose(layer.variance, own.running_var.numpy(), rtol=1e-6)
        place += 2 * width
    assert place == found.shape[1]
    distances = [one.distance for one in profile(profiler.layers, found)]
    assert all(0 <= one <= 1 for one in distances) and np.mean(distances) > 0.1, "noise is no photo"


@pytest.mark.usefixtures("warm")
def test_a_damaged_profile_is_made_again(warm: Path) -> None:
    chosen = open_engine("lite0")
    if chosen.engine.name == "torch":
        pytest.skip("torch was the fastest here, and keeps no file")
    open_profiler(chosen)
    file = next(iter(warm.glob("engines/*-profile/model.bin")))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    again = open_profiler(chosen)
    assert again is not None and bytes(data) != file.read_bytes()
