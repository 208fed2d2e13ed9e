"""Steps in bf16: gradients are float32's but for rounding, answers are float32's to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.features.engines import TorchEngine
from topwork.finetune import frozen as cold
from topwork.finetune import lower
from topwork.finetune.cut import Prefix
from topwork.finetune.folding import fold
from topwork.zoo import load_backbone


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def like(first: Tensor, second: Tensor) -> float:
    return float(functional.cosine_similarity(first.flatten().double(), second.flatten().double(), dim=0))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((3, 3), 1, 1, 1),
        ((5, 5), 1, 2, 1),
        ((7, 7), 1, 3, 1),
        ((5, 3), 1, 2, 1),
        ((5, 5), 1, 0, 1),
        ((5, 5), 2, 2, 1),
        ((3, 3), 1, 2, 2),
    ],
)
def test_gradients_of_depthwise_layers_are_those_of_float32(
    kernel: tuple[int, int], stride: int, padding: int, dilation: int
) -> None:
    conv = nn.Conv2d(12, 12, kernel, stride, padding, dilation, groups=12)
    given: list[list[Tensor]] = []
    for low in (False, True):
        leaves = [
            drawn(4, 12, 9, 9).contiguous(memory_format=torch.channels_last),
            drawn(12, 1, *kernel, seed=1),
            drawn(12, seed=2),
        ]
        leaves = [leaf.bfloat16().float().requires_grad_(True) for leaf in leaves]  # what bf16 holds, so that only steps differ
        maps, weight, bias = leaves
        if low:
            found = lower.grouped(maps, weight, bias, conv, (padding, padding))
            assert found.dtype == torch.bfloat16
        else:
            found = functional.conv2d(maps, weight, bias, stride, padding, dilation, 12)
        found.float().backward(drawn(*found.shape, seed=3).bfloat16().float())
        given.append([found.detach().float(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert [one.shape for one in given[0]] == [one.shape for one in given[1]] and len(given[0]) == 4
    for exact, rounded in zip(*given, strict=True):
        assert torch.allclose(exact, rounded, rtol=0.01, atol=0.01 * float(exact.abs().max()))
        assert like(exact, rounded) > 0.9999


def test_steps_are_rounded_and_answers_are_not() -> None:
    backbone = load_backbone("lite0")
    cut = cold.cuts_of(backbone)[3]
    prefix = Prefix(backbone, (cut,))
    with torch.inference_mode():
        rows = prefix(torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    frozen = cold.Frozen(TorchEngine(prefix), prefix, rows.shape[1])
    exact, rounded = (cold.behind(backbone, frozen, cut, precision) for precision in ("f32", "bf16"))
    assert not exact.low and rounded.low
    taken = torch.cat([rows[:, start:stop] for start, stop in prefix.columns(cut)], 1)
    with torch.inference_mode():
        assert torch.equal(exact(taken), rounded(taken))
    gradients = []
    for part in (exact, rounded):
        features = part(taken.clone())
        assert features.dtype == torch.float32
        (features * drawn(features.shape[1])).sum().backward()
        gradients.append({name: one.grad for name, one in part.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    whole = [torch.cat([one.flatten() for one in found.values()]) for found in gradients]
    assert all(one.dtype == torch.float32 for found in gradients for one in found.values())
    assert not torch.equal(*whole) and like(*whole) > 0.9


def test_auto_asks_the_processor_and_looks_at_depthwise_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def block(channels: int = 8) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.BatchNorm2d(channels))

    bare, folded, dense = block(), block().eval(), nn.Sequential(nn.Conv2d(3, 8, 3))
    assert fold(folded, torch.rand(2, 8, 6, 6)) == 1
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert lower.lowered("auto", [folded, dense]) and not lower.lowered("auto", [folded, bare])
    assert lower.lowered("bf16", [bare]) and not lower.lowered("f32", [dense])
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "amx_bf16": False}, raising=False)
    assert not lower.lowered("auto", [folded])


@pytest.mark.parametrize(
    ("wanted", "low", "device", "told"),
    [
        ("auto", True, "cpu", "bf16: this processor"),
        ("auto", False, "cpu", "f32: "),
        ("f32", False, "cpu", "f32: as asked for"),
        ("bf16", True, "cpu", "bf16: as asked for"),
        ("bf16", False, "cpu", "f32: bf16 was asked for"),
        ("auto", False, "cuda", "bf16, where the GPU knows it"),
    ],
)
def test_the_reason_says_what_is_done(wanted: str, low: bool, device: str, told: str) -> None:
    assert lower.precision_told(wanted, low, device).startswith(told)
