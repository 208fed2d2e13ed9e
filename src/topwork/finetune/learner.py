"""What learns: the blocks behind the cut, and the head on their features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from topwork.finetune.cut import Behind
from topwork.heads.designs import Design
from topwork.heads.head import Head


class _Root(torch.autograd.Function):
    """Signed square root whose slope stays finite: at zero it is infinite, and many pooled features are zero."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        root = torch.copysign(values.abs().sqrt(), values)
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        slope: Tensor = gradient * 0.5 / root.abs().clamp(min=0.1)
        return slope


class HeadLayer(nn.Module):
    """A head that learns. features (N, D_full) -> logits (N, K); the same numbers as the `Head` it was made from.

    Its weights stand on standardised features, so that one rate suits them all.
    """

    columns: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, data: Design, classes: int, dropout: float) -> None:
        super().__init__()
        self.transform, self.dropout = data.transform, dropout
        self.register_buffer("columns", torch.from_numpy(np.ascontiguousarray(data.columns)), persistent=False)
        self.register_buffer("mean", torch.from_numpy(data.mean.copy()), persistent=False)
        self.register_buffer("scale", torch.from_numpy(data.scale.copy()), persistent=False)
        self.weight = nn.Parameter(torch.zeros(classes, len(data.columns)))
        self.bias = nn.Parameter(torch.zeros(classes))

    def start_from(self, head: Head) -> None:
        """Take over the weights of a head on the same columns and transform."""
        scale = self.scale.double().numpy()
        weight = np.divide(head.weight, scale, out=np.zeros(head.weight.shape), where=scale > 0)
        bias = head.bias + head.weight.astype(np.float64) @ self.mean.double().numpy()
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(weight).float())
            self.bias.copy_(torch.from_numpy(bias).float())

    def start_by(self, rule: str, seed: int) -> None:
        """Start from chance: xavier (Glorot 2010), kaiming (He 2015), normal, uniform, zeros."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            initialise(self.weight, rule, generator)
            self.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K)."""
        seen = features[:, self.columns]
        if self.transform == "sqrt":
            seen = _Root.apply(seen)
        seen = (seen - self.mean) * self.scale
        return functional.linear(functional.dropout(seen, self.dropout, self.training), self.weight, self.bias)

    def to_head(self, view: str, width: int, mirrored: bool) -> Head:
        """The head of a bundle, standardisation folded in."""
        scale, mean = self.scale.double().cpu().numpy(), self.mean.double().cpu().numpy()
        weight = self.weight.detach().double().cpu().numpy() * scale
        bias = self.bias.detach().double().cpu().numpy() - weight @ mean
        columns = self.columns.cpu().numpy()
        return Head(
            "fine-tuned", view, columns, width, mirrored, self.transform, weight.astype(np.float32), bias.astype(np.float32)
        )


def initialise(weight: Tensor, rule: str, generator: torch.Generator) -> None:
    """Fill a weight (out, in) in place by a rule."""
    if rule == "xavier":
        nn.init.xavier_uniform_(weight, generator=generator)
    elif rule == "kaiming":
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    elif rule == "normal":
        nn.init.normal_(weight, 0.0, 0.01, generator=generator)
    elif rule == "uniform":
        nn.init.uniform_(weight, -0.01, 0.01, generator=generator)
    else:
        nn.init.zeros_(weight)


class Learner(nn.Module):
    """Blocks behind a cut (none: rows are features already) and a head. rows (N, row) -> logits (N, K)."""

    def __init__(self, behind: Behind | None, head: nn.Module) -> None:
        super().__init__()
        self.behind, self.head = behind, head

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(rows.float() if self.behind is None else self.behind(rows))
        return logits
