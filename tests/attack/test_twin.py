"""The twin sees what the real way sees, and its way back is the transpose of its way there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from topwork.attack.losses import Aim, CrossEntropy
from topwork.attack.photos import photo_pixels, photos_victim
from topwork.attack.twin import resizing, twin
from topwork.features.extract import second_look
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels

from .toys import toy


def difference(pixels: Pixels, geometry: Geometry) -> tuple[float, float]:
    """(mean, largest) difference of both looks by the twin and by Pillow, in levels of 8 bits."""
    height, width = pixels.shape[:2]
    photo = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
    image = Image.fromarray(pixels)
    real = (to_pixels(image, geometry), second_look(image, geometry))
    found = [twin(width, height, geometry, second).see(photo)[0] * 255 for second in (False, True)]
    gaps = [np.abs(one.permute(1, 2, 0).numpy() - other) for one, other in zip(found, real, strict=True)]
    return max(float(gap.mean()) for gap in gaps), max(float(gap.max()) for gap in gaps)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(8, 64),
    st.sampled_from([0.5, 0.875, 1.0]),
    st.sampled_from(["bicubic", "bilinear", "lanczos", "nearest"]),
    st.sampled_from(["center", "squash"]),
    st.integers(0, 1000),
)
def test_the_twin_sees_what_pillow_sees(
    width: int, height: int, size: int, crop: float, interpolation: str, mode: str, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mean, most = difference(pixels, Geometry(size, crop, interpolation, mode))  # type: ignore[arg-type]
    assert mean < 0.1 and most < 1.01


@pytest.mark.photos
def test_the_twin_sees_what_the_real_way_sees_of_photos(photos: Path) -> None:
    for file in sorted((photos / "cats-vs-dogs" / "test").glob("*/*"))[::60]:
        pixels = np.array(decode(read_bytes(file)).image)
        mean, most = difference(pixels, Geometry())
        assert mean < 1e-2 and most < 1.01


def test_the_way_back_is_the_transpose() -> None:
    generator = torch.Generator().manual_seed(0)
    across = resizing(137, 40, 8.5, 128.5, "bicubic")
    values, slope = torch.rand(3, 5, 137, generator=generator), torch.rand(3, 5, 40, generator=generator)
    assert torch.allclose((across(values) * slope).sum(), (values * across.back(slope, 137)).sum(), rtol=1e-5)


def test_the_gradient_of_a_photo_points_uphill() -> None:
    victim, _, _ = toy()
    pixels = [np.random.default_rng(k).integers(40, 216, (20 + 3 * k, 31 - 2 * k, 3), dtype=np.uint8) for k in range(4)]
    photos, points = photos_victim(victim, pixels, Geometry(8))
    labels = photos.exact(points).argmax(1)
    loss = CrossEntropy(Aim(labels))
    _, gradient = photos.gradient(points, loss)
    before = loss.values(photos.exact(points))
    after = loss.values(photos.exact((points + gradient.sign() * 4 / 255).clamp(0, 1)))
    assert (after > before).all()
    for place, one in enumerate(pixels):  # nothing outside the photo, and alone as in company
        height, width = one.shape[:2]
        assert not gradient[place, :, height:].any() and not gradient[place, :, :, width:].any()
        alone, point = photos_victim(victim, [one], Geometry(8))
        assert torch.allclose(
            alone.gradient(point, loss.at(torch.tensor([place])))[1][0], gradient[place, :, :height, :width], atol=1e-5
        )


def test_pixels_survive_the_way_to_points_and_back() -> None:
    victim, _, _ = toy()
    pixels = [np.random.default_rng(k).integers(0, 256, (9 + k, 14, 3), dtype=np.uint8) for k in range(3)]
    photos, points = photos_victim(victim, pixels, Geometry(8))
    assert all(np.array_equal(one, other) for one, other in zip(photo_pixels(points, photos.sizes), pixels, strict=True))
    change = photos.allowed(torch.ones_like(points))
    assert [int(one.sum()) for one in change] == [one.size for one in pixels]
    some = photos.at(torch.tensor([2]))
    assert torch.allclose(some.exact(points[2:]), photos.exact(points)[2:], atol=1e-5)
