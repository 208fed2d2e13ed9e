"""Learning in bf16 on a processor that multiplies it natively: twice as fast, half the memory; weights and steps stay float32.

torch's autocast does most of it. Depthwise convolutions need help: in bf16 their gradients fall to reference kernels, a hundred
times slower, wherever they are strided or wider than 3 x 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NATIVE = ("avx512_bf16", "amx_bf16")
"""Abilities of a processor, as `torch.cpu.get_capabilities` names them; without one, bf16 is emulated and slower."""

NARROW = 3
"""Width of the widest kernel whose bf16 gradient to the weights is fast; a wider one is put together from such."""

Pair = tuple[int, ...]


def native() -> bool:
    """Whether this processor multiplies bf16. Never measured: a run that is resumed must decide alike."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in NATIVE)


def lowered(wanted: str, blocks: Sequence[nn.Module]) -> bool:
    """Whether blocks learn in bf16. wanted: auto, f32 or bf16; auto is f32 where depthwise layers do not fold."""
    if wanted != "auto":
        return wanted == "bf16"
    modules = [module for block in blocks for module in block.modules()]
    helped = {id(getattr(module, "convolution", None)) for module in modules}
    bare = [module for module in modules if isinstance(module, nn.Conv2d) and module.groups > 1]
    return native() and all(id(conv) in helped for conv in bare)


def precision_told(wanted: str, low: bool, device: str) -> str:
    """What steps are computed in, and why."""
    if device != "cpu":
        return "bf16, where the GPU knows it: by CUDA's autocast; weights and steps are float32"
    if wanted == "bf16" and not low:
        return "f32: bf16 was asked for, and only for the last blocks it is: not the head alone, the whole network, or attacks"
    if wanted != "auto":
        return f"{wanted}: as asked for"
    if low:
        return "bf16: this processor multiplies it twice as fast; weights, steps and answers are float32"
    return "f32: the head alone, the whole network, or a processor or layers for which bf16 is slower"


def grouped(maps: Tensor, weight: Tensor, bias: Tensor, conv: nn.Conv2d, padding: Pair | str) -> Tensor:
    """A grouped convolution under autocast: in bf16 where its gradients are fast, else in float32. Returns bf16."""
    with torch.autocast("cpu", enabled=False):
        plain = set(conv.stride) == set(conv.dilation) == {1} and conv.groups == len(weight)
        if plain and isinstance(padding, tuple) and min(conv.kernel_size) >= NARROW:
            low = (maps.bfloat16(), weight.bfloat16(), bias.bfloat16())
            found: Tensor = _Depthwise.apply(*low, padding)
            return found
        whole = functional.conv2d(maps.float(), weight, bias, conv.stride, padding, conv.dilation, conv.groups)
        return whole.bfloat16()


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of stride 1."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, padding: Pair) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        return functional.conv2d(maps, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        maps, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_maps = _back(gradient, maps, weight, ctx.padding, 0) if ctx.needs_input_grad[0] else None
        tall, wide = weight.shape[2:]
        to_bias = gradient.sum((0, 2, 3), dtype=torch.float32).to(gradient.dtype)
        if max(tall, wide) == NARROW:
            return to_maps, _back(gradient, maps, weight, ctx.padding, 1), to_bias, None
        above, left = ctx.padding
        rim = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
        height, width = (side + NARROW - 1 for side in gradient.shape[2:])
        to_weight = torch.empty_like(weight)
        small = weight[:, :, :NARROW, :NARROW].contiguous()
        for top in _starts(tall):
            for start in _starts(wide):
                seen = rim[:, top : top + height, start : start + width].contiguous().permute(0, 3, 1, 2)
                to_weight[:, :, top : top + NARROW, start : start + NARROW] = _back(gradient, seen, small, (0, 0), 1)
        return to_maps, to_weight, to_bias, None


def _starts(side: int) -> list[int]:
    """Where windows of width NARROW begin that together cover `side`."""
    return [*range(0, side - NARROW, NARROW), side - NARROW]


def _back(gradient: Tensor, maps: Tensor, weight: Tensor, padding: Pair, which: int) -> Tensor:
    """The gradient to the maps (which = 0) or to the weight (1)."""
    wanted = [which == 0, which == 1, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, [1, 1], list(padding), [1, 1], False, [0, 0], len(weight), wanted
    )[which]
    return found
