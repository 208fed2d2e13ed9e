"""A network cut in two gives what the whole gives, and what has learned goes back into the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from topwork.features.engines import TorchEngine
from topwork.finetune import frozen as cold
from topwork.finetune.cut import Behind, Prefix, blocks_of, check_cut, learnable_blocks
from topwork.finetune.folding import Folded, fold, unfold
from topwork.finetune.lora import LowRank, adapt, merge
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone

NETWORKS = (
    "timm:resnet18",
    "timm:vit_tiny_patch16_224",
    "timm:mobilenetv3_small_050",
    "timm:convnext_atto",
    "timm:regnetx_002",
)


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone("lite0")


def rows_for(prefix: Prefix, cut: str, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        rows = prefix(images)
    return torch.cat([rows[:, start:stop] for start, stop in prefix.columns(cut)], 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_two_parts_give_what_the_whole_gives(name: str) -> None:
    backbone = load_backbone(name, "random")
    blocks = learnable_blocks(backbone, blocks_of(backbone))
    assert len(blocks) >= 3
    size = backbone.spec.geometry.size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = backbone(images)
    cuts = (blocks[-1], blocks[len(blocks) // 2])
    prefix = Prefix(backbone, cuts)
    prefix(images)
    for cut in cuts:
        part = Behind(backbone, cut, prefix.shapes[cut], prefix.columns(cut)[0][1])
        check_cut(backbone, prefix, part)
        rows = rows_for(prefix, cut, images)
        with torch.inference_mode():
            torch.testing.assert_close(part(rows), whole, atol=1e-4, rtol=1e-3)
            fold(part, rows)
            torch.testing.assert_close(part(rows), whole, atol=1e-3, rtol=1e-3)


def test_the_whole_network_learns_from_pixels(lite0: Backbone) -> None:
    part = cold.whole(lite0)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = lite0(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
        torch.testing.assert_close(part(torch.from_numpy(pixels.reshape(1, -1))), expected, atol=1e-3, rtol=1e-3)
    assert sum(isinstance(module, Folded) for module in part.modules()) > 40


def test_folding_has_the_gradients_of_batch_normalisation(lite0: Backbone) -> None:
    cut = cold.cuts_of(lite0)[1]
    prefix = Prefix(lite0, (cut,))
    rows = torch.rand(2, prefix(torch.rand(1, 3, 224, 224)).shape[1], generator=torch.Generator().manual_seed(0))
    parts = [Behind(lite0, cut, prefix.shapes[cut], prefix.columns(cut)[0][1]) for _ in range(2)]
    assert fold(parts[1], rows) >= 7
    found = []
    for part in parts:
        cold.ready(part)
        part(rows).square().mean().backward()
        if part is parts[1]:
            unfold(part)
        found.append({name: one.grad for name, one in part.named_parameters() if one.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 20
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=1e-2, msg=name)


def test_what_lies_before_the_cut_does_not_learn(lite0: Backbone) -> None:
    cuts = cold.cuts_of(lite0)
    size = lite0.spec.geometry.size
    frozen = cold.freeze(lite0, cuts[:1], TorchEngine(lite0), [np.full((size, size, 3), 90, np.uint8)])
    part = cold.behind(lite0, frozen, cuts[0])
    learning = {name for name, one in part.named_parameters() if one.requires_grad}
    assert learning and all(".blocks.6.0." in name or "conv_head" in name for name in learning)
    before = {name: one.clone() for name, one in lite0.network.state_dict().items()}
    unfold(part)
    assert part.network.state_dict().keys() == before.keys()
    for name, one in part.network.state_dict().items():
        assert torch.equal(one, before[name])


def test_low_rank_updates_begin_as_the_network_and_merge_into_it() -> None:
    backbone = load_backbone("timm:vit_tiny_patch16_224", "random")
    cut = cold.cuts_of(backbone)[0]
    prefix = Prefix(backbone, (cut,))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    prefix(images)
    part = Behind(backbone, cut, prefix.shapes[cut], prefix.columns(cut)[0][1])
    rows = rows_for(prefix, cut, images)
    before = part(rows)
    assert adapt(part, 4, 0) == 4
    torch.testing.assert_close(part(rows), before)
    learning = [one for one in part.parameters() if one.requires_grad]
    assert sum(one.numel() for one in learning) < 0.1 * sum(one.numel() for one in part.network.get_submodule(cut).parameters())
    with torch.no_grad():
        for module in part.modules():
            if isinstance(module, LowRank):
                nn.init.normal_(module.up, 0, 0.1, generator=torch.Generator().manual_seed(1))
    changed = part(rows)
    assert not torch.allclose(changed, before)
    merge(part)
    assert part.network.state_dict().keys() == backbone.network.state_dict().keys()
    torch.testing.assert_close(part(rows), changed, atol=1e-4, rtol=1e-4)
