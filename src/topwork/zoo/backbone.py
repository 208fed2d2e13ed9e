"""The contract of every backbone: an nn.Module from images in [0, 1] to features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from topwork.zoo.spec import BackboneSpec

Result = TypeVar("Result")

Run = Callable[[Any, Tensor], tuple[Tensor, Tensor | None]]
"""Of a network and normalised images (n, 3, H, W): the last features (n, D), and the logits (n, K), or None."""


class Backbone(nn.Module):
    """A pretrained network with its normalisation inside. images (N, 3, H, W) in [0, 1] -> features (N, D).

    `pool` brings the output of a stage to (n, channels); `run` gives, of the network and normalised images, the last features
    and the logits of the classes the network was trained on, or None. Neither holds the network: a deep copy is whole.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        spec: BackboneSpec,
        pool: Callable[[Tensor], Tensor],
        run: Run,
    ) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self._pool, self._run = pool, run
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        self.eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D): the pooled mean of each stage, the last features, the original answers as probabilities."""
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            kept.append(self._pool(output))

        hooks = [self.network.get_submodule(name).register_forward_hook(keep) for name, _ in self.spec.stages]
        try:
            last, logits = self._run(self.network, self.normalised(images))
        finally:
            for hook in hooks:
                hook.remove()
        if self.spec.answers and logits is not None:
            return torch.cat([*kept, last, logits.softmax(1)], dim=1)
        return torch.cat([*kept, last], dim=1)

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the network was trained on them (N, 3, H, W): its range, its order of channels."""
        scaled = (images - self.mean) / self.std
        return scaled[:, [2, 1, 0]] if self.spec.channels == "BGR" else scaled

    def logits(self, images: Tensor) -> Tensor:
        """The original classifier's answers (N, K original classes). Raises ValueError where it has none."""
        if not self.spec.classes:
            raise ValueError(f"{self.spec.id} has no classifier of its own")
        _, logits = self._run(self.network, self.normalised(images))
        if logits is None:
            raise ValueError(f"{self.spec.id} has no classifier of its own")
        return logits

    def layer_names(self) -> list[str]:
        """Dotted names of the network's layers, in order."""
        return [name for name, _ in self.network.named_modules() if name]


class FromBytes(nn.Module):
    """A backbone fed as the engines feed it. pixels uint8 (N, H, W, 3) -> features (N, D)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D) of pixels."""
        features: Tensor = self.backbone(pixels.permute(0, 3, 1, 2).float() / 255.0)
        return features


def multiply_adds(run: Callable[[Tensor], Result], images: Tensor) -> tuple[Result, int]:
    """What `run` gives, and the multiply-adds of its convolutions, matrix products and attention."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernels are not counted
        result = run(images)
    return result, counter.get_total_flops() // 2


def state_sha256(state: dict[str, Any]) -> str:
    """One hash of all tensors: names, shapes, types and bytes in order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
