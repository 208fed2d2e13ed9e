"""Frozen batch normalisation folded into the convolution before it, at every step: one pass over the maps less each way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.finetune.lower import grouped


class Folded(nn.Module):
    """A convolution and the batch normalisation behind it as one convolution. Both keep their own weights, and learn them."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm

    def forward(self, maps: Tensor) -> Tensor:
        """As convolution, then norm in evaluation."""
        conv, norm = self.convolution, self.norm
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator]
        bias = norm.bias - norm.running_mean * scale  # type: ignore[operator]
        if conv.bias is not None:
            bias = bias + conv.bias * scale
        weight = conv.weight * scale[:, None, None, None]
        padding: Any = conv.padding
        if type(conv) is not nn.Conv2d:  # TensorFlow's "same": as much as the stride asks for, more behind than before
            padding = (0, 0)
            maps = _same(maps, conv)
        if conv.groups > 1 and maps.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return grouped(maps, weight, bias, conv, padding)
        return functional.conv2d(maps, weight, bias, conv.stride, padding, conv.dilation, conv.groups)


def _same(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    rims: list[int] = []
    for side, kernel, stride, step in zip(maps.shape[-2:], conv.kernel_size, conv.stride, conv.dilation, strict=True):
        total = max((-(-side // stride) - 1) * stride + (kernel - 1) * step + 1 - side, 0)
        rims = [total // 2, total - total // 2, *rims]
    return functional.pad(maps, rims) if any(rims) else maps


class Rest(nn.Module):
    """What batch normalisation leaves to do once it is folded: its activation, if it has one."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.after = nn.Sequential(*[getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)])
        self._norm = (norm,)  # no child: its weights belong to the folded convolution

    @property
    def norm(self) -> nn.Module:
        """The batch normalisation in whose place it stands."""
        return self._norm[0]

    def forward(self, maps: Tensor) -> Tensor:
        """The activation of maps."""
        out: Tensor = self.after(maps)
        return out


def fold(module: nn.Module, example: Tensor) -> int:
    """Fold every pair of convolution and batch normalisation that runs in `module`; returns how many.

    `example` is passed through to see which follows which. Nothing is folded unless the outcome is the same.
    """
    made: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []
    outputs: list[Tensor] = []

    def after_convolution(conv: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output)  # kept alive, so that no other tensor takes its identity
        made[id(output)] = conv  # type: ignore[assignment]

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], norm))

    hooks = []
    for child in module.modules():
        if isinstance(child, nn.Conv2d) and (type(child) is nn.Conv2d or type(child).__name__ == "Conv2dSame"):
            hooks.append(child.register_forward_hook(after_convolution))
        elif isinstance(child, nn.BatchNorm2d) and child.affine and child.track_running_stats:
            hooks.append(child.register_forward_pre_hook(before_norm))
    with torch.inference_mode():
        before = module(example)
    for one in hooks:
        one.remove()
    if not pairs:
        return 0
    _swap(module, {conv: Folded(conv, norm) for conv, norm in pairs} | {norm: Rest(norm) for _, norm in pairs})
    with torch.inference_mode():
        after = module(example)
    if not torch.allclose(before, after, atol=1e-3, rtol=1e-3):
        unfold(module)
        return 0
    return len(pairs)


def unfold(module: nn.Module) -> None:
    """Put convolutions and batch normalisations back where they were, with the weights they have learned."""
    exchange: dict[Any, nn.Module] = {child: child.convolution for child in module.modules() if isinstance(child, Folded)}
    exchange |= {child: child.norm for child in module.modules() if isinstance(child, Rest)}
    _swap(module, exchange)


def _swap(module: nn.Module, exchange: dict[Any, nn.Module]) -> None:
    for parent in list(module.modules()):
        if isinstance(parent, (Folded, Rest)):
            continue
        for name, child in list(parent.named_children()):
            if child in exchange:
                setattr(parent, name, exchange[child])
