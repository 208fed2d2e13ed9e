"""Low-rank updates of the linear layers of a transformer's last blocks, in place of all their weights (Hu 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.errors import InputError
from topwork.finetune.cut import Behind


class LowRank(nn.Module):
    """A linear layer whose weights stay, with an update of low rank that learns. It starts as the layer itself."""

    def __init__(self, layer: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layer = layer
        layer.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, layer.in_features, generator=generator) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    @property
    def weight(self) -> Tensor:
        """With the update, for networks that take weights out of their layers."""
        return self.layer.weight + self.up @ self.down

    @property
    def bias(self) -> Tensor | None:
        """The layer's."""
        return self.layer.bias

    def forward(self, values: Tensor) -> Tensor:
        """The layer's answer and the update's."""
        update = functional.linear(functional.linear(values, self.down), self.up)
        out: Tensor = self.layer(values) + update
        return out

    def merged(self) -> nn.Linear:
        """The plain layer with the update added to its weights."""
        with torch.no_grad():
            self.layer.weight += self.up @ self.down
        return self.layer


def adapt(part: Behind, rank: int, seed: int) -> int:
    """Give every linear layer of the blocks that learn an update of low rank, which alone learns; returns how many.

    Raises InputError where the blocks have no linear layers.
    """
    generator = torch.Generator().manual_seed(seed)
    part.requires_grad_(False)
    count = 0
    for name in part.names:
        for parent in list(part.network.get_submodule(name).modules()):
            for child, layer in list(parent.named_children()):
                if isinstance(layer, nn.Linear) and not isinstance(parent, LowRank):
                    setattr(parent, child, LowRank(layer, min(rank, layer.in_features, layer.out_features), generator))
                    count += 1
    if not count:
        raise InputError(
            f"lora: the blocks of {part.spec.id} that learn have no linear layers; LoRA is for transformers (timm:vit_...) "
            "with a number of blocks to learn. Leave it out."
        )
    return count


def merge(part: Behind) -> None:
    """Make plain layers of all updated ones."""
    for parent in list(part.modules()):
        for child, layer in list(parent.named_children()):
            if isinstance(layer, LowRank):
                setattr(parent, child, layer.merged())
