"""Losses say their own gradient, and the ratio is the paper's."""

from __future__ import annotations

import pytest
import torch

from topwork.attack.losses import Aim, CrossEntropy, Lead, LogitsRatio, Loss, lead_of
from topwork.attack.victim import cotangent

LABELS, TARGETS = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 3])


def losses(labels: torch.Tensor, targets: torch.Tensor) -> list[Loss]:
    return [
        CrossEntropy(Aim(labels)),
        CrossEntropy(Aim(labels, targets)),
        Lead(Aim(labels)),
        Lead(Aim(labels, targets)),
        LogitsRatio(Aim(labels), targets),
        LogitsRatio(Aim(labels, targets), targets),
    ]


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("place", range(6))
def test_each_loss_says_its_own_gradient(place: int, classes: int) -> None:
    labels, targets = LABELS % classes, (LABELS + 1) % classes
    loss = losses(labels, targets)[place]
    logits = torch.randn(6, classes, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    (wanted,) = torch.autograd.grad(loss.values(logits).sum(), logits)
    found = cotangent(logits.detach(), loss)
    assert torch.allclose(found, wanted, atol=1e-5)
    if not loss.needs_logits:
        linear, entropy = loss.linear(None, classes)
        assert torch.allclose(linear - entropy * logits.detach().softmax(1), wanted, atol=1e-5)


def test_the_ratio_is_the_paper_s() -> None:
    logits = torch.tensor([[5.0, 3.0, 2.0, 1.0, 0.0]])
    found = LogitsRatio(Aim(torch.tensor([0])), torch.tensor([2])).values(logits)
    assert torch.allclose(found, torch.tensor([-(5.0 - 2.0) / (5.0 - (2.0 + 1.0) / 2)]))
    assert torch.allclose(found, LogitsRatio(Aim(torch.tensor([0])), torch.tensor([2])).values(7 * logits + 3))


def test_what_counts_as_fooled() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    assert lead_of(logits, torch.tensor([0, 1])).tolist() == [1.0, -2.0]
    assert Aim(torch.tensor([0, 1])).fooled(logits).tolist() == [False, True]
    assert Aim(torch.tensor([0, 1])).fooled(logits, lead=2.5).tolist() == [False, False]
    assert Aim(torch.tensor([1, 1]), torch.tensor([0, 0])).fooled(logits).tolist() == [True, False]
    assert Aim(torch.tensor([0, 1])).at(torch.tensor([1])).labels.tolist() == [1]
