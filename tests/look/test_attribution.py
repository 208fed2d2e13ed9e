"""Why-maps: equal to the oracle's, complete, better than chance, and of the weights that are really there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from topwork.errors import InputError, UnknownName
from topwork.frozen.gradient import frozen_gradient
from topwork.grafted import Grafted, grafted
from topwork.look.attribution import answering_layer, gradcam, slopes_of, weighed
from topwork.look.maps import watched
from topwork.look.pixels import Attribution, attributed, faithfulness
from topwork.pictures.decode import decode, read_bytes, to_pixels
from topwork.zoo import load_backbone

METHODS = ("gradcam", "ig", "smoothgrad", "occlusion")
PICTURES = ("340", "292", "963")


@pytest.fixture(scope="module")
def lite0() -> Grafted:
    return grafted(load_backbone())


def one_hot(place: int, count: int = 1000) -> Tensor:
    return nn.functional.one_hot(torch.tensor(place), count).float()


def explain(network: Grafted, image: Tensor, linear: Tensor, method: str = "gradcam") -> Attribution:
    if method == "gradcam":
        return gradcam(network, image, linear)
    slopes = slopes_of(frozen_gradient(network, image.shape[2], precision="f32"))
    return attributed(slopes, image[0].numpy(), linear.numpy(), method)


def photo(folder: Path, network: Grafted) -> Tensor:
    (file,) = folder.iterdir() if folder.is_dir() else [folder]
    geometry = network.spec.geometry
    pixels = to_pixels(decode(read_bytes(file), wanted=geometry).image, geometry)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def zebra(photos: Path, lite0: Grafted) -> Tensor:
    return photo(next((photos / "imagenet-one-per-class").glob("340-*")), lite0)


@pytest.mark.photos
def test_gradcam_is_captums(lite0: Grafted, zebra: Tensor) -> None:
    layer = answering_layer(lite0, zebra, one_hot(340))
    with watched(lite0.backbone, [layer]) as outputs:
        answer = lite0(zebra.clone().requires_grad_(True))[0, 340]
    found = weighed(lite0, outputs[layer][0], answer)
    oracle = LayerGradCam(lite0, lite0.backbone.network.get_submodule(layer))
    wanted = oracle.attribute(zebra.clone().requires_grad_(True), target=340, relu_attributions=True)
    assert found is not None and torch.allclose(found, wanted.detach(), atol=1e-5)
    assert float(wanted.detach().max()) > 0


@pytest.mark.photos
def test_integrated_gradients_are_complete(lite0: Grafted, zebra: Tensor, warm: Path) -> None:
    found = explain(lite0, zebra, one_hot(340) - one_hot(292), "ig")
    assert found.error is not None and found.change is not None
    assert found.error < 0.01
    with torch.no_grad():
        answers = lite0(torch.cat([torch.full_like(zebra, 0.5), zebra])) @ (one_hot(340) - one_hot(292))
    assert found.values.sum() == pytest.approx(float(answers[1] - answers[0]), rel=0.01)


@pytest.mark.photos
@pytest.mark.parametrize("method", METHODS)
def test_maps_tell_more_than_chance(
    method: str, lite0: Grafted, photos: Path, warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topwork.look.pixels.MOST_STEPS", 64)  # how complete more steps are is another test's
    deletion, insertion, by_chance = [], [], []
    for name in PICTURES:
        image = photo(next((photos / "imagenet-one-per-class").glob(f"{name}-*")), lite0)
        with torch.inference_mode():
            target = int(lite0(image).argmax())

        def probability(images: np.ndarray, target: int = target) -> np.ndarray:
            with torch.inference_mode():
                return lite0.probs(torch.from_numpy(images))[:, target].numpy()

        values = explain(lite0, image, one_hot(target), method).values
        drawn = np.random.default_rng(0).permutation(values.size).reshape(values.shape).astype(np.float32)
        away, first = faithfulness(probability, image[0].numpy(), values)
        random_away, random_first = faithfulness(probability, image[0].numpy(), drawn)
        deletion.append(away)
        insertion.append(first)
        by_chance.append((random_away, random_first))
    random_deletion, random_insertion = np.mean(by_chance, axis=0)
    assert np.mean(insertion) > random_insertion
    # Covering squares finds what matters in patches, and single pixels of a patch matter little.
    assert np.mean(deletion) < random_deletion + (0.05 if method == "occlusion" else 0)


@pytest.mark.photos
@pytest.mark.parametrize("method", METHODS)
def test_other_weights_give_another_map(
    method: str, lite0: Grafted, zebra: Tensor, warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sanity check of Adebayo 2018: a map that does not change with the weights tells of the picture alone."""
    monkeypatch.setattr("topwork.look.pixels.MOST_STEPS", 16)
    other = grafted(load_backbone("timm:tf_efficientnet_lite0", "random"))
    found, strange = (explain(network, zebra, one_hot(340), method).values for network in (lite0, other))
    ranks = [np.argsort(np.argsort(values.reshape(-1))) for values in (found, strange)]
    assert abs(np.corrcoef(ranks)[0, 1]) < 0.5


def test_the_map_of_a_head_of_two_looks_is_the_right_way_round(lite0: Grafted) -> None:
    torch.manual_seed(0)
    head = nn.Linear(lite0.spec.width, 3)
    network = Grafted(lite0.backbone, head, ("a", "b", "c"), mirrored=True)
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    image[:, :, :, 150:] *= 0.2
    found, turned = (gradcam(network, one, one_hot(1, 3)).values for one in (image, image.flip(3)))
    assert np.allclose(found, turned[:, ::-1], atol=1e-4 * found.max())  # what it answers is the same for both
    assert not np.allclose(found, turned, atol=1e-2 * found.max())


def test_the_layer_of_a_network_of_tokens_alone_holds_tokens() -> None:
    network = grafted(load_backbone("timm:vit_medium_patch16_gap_256", "random"))
    layer = answering_layer(network, torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)), one_hot(7))
    assert "attn" not in layer and layer.startswith(("blocks.11", "norm", "blocks"))


def test_the_layer_of_a_vit_is_found_by_itself() -> None:
    network = grafted(load_backbone("timm:vit_tiny_patch16_224", "random"))
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert answering_layer(network, image, one_hot(3)) == "blocks.11.norm1"
    found = explain(network, image, one_hot(3))
    assert found.values.shape == (224, 224) and found.values.max() > 0


def test_unknown_methods_and_layers_are_told(lite0: Grafted) -> None:
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UnknownName, match="Did you mean occlusion"):
        explain(lite0, image, one_hot(3), "oclusion")
    with pytest.raises(UnknownName, match=r"Did you mean blocks\.6"):
        gradcam(lite0, image, one_hot(3), layer="block.6")
    with pytest.raises(InputError, match="no height and width"):
        gradcam(lite0, image, one_hot(3), layer="global_pool")
