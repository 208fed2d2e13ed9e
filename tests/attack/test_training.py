"""The inner half of adversarial training raises the loss and leaves the network as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from topwork.attack.training import hardened

from .toys import toy


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_loss_is_raised_within_the_ball(steps: int, norm: str) -> None:
    victim, images, labels = toy()
    epsilon = 0.02 if norm == "linf" else 0.3
    generator = torch.Generator().manual_seed(0)
    found = hardened(victim.module, images, labels, epsilon, steps=steps, norm=norm, generator=generator)  # type: ignore[arg-type]
    change = (found - images).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (size <= epsilon * 1.0001).all() and found.min() >= 0 and found.max() <= 1
    before, after = (functional.cross_entropy(victim.module(one), labels, reduction="none") for one in (images, found))
    assert (after > before).float().mean() > 0.9


def test_statistics_modes_and_gradients_stay() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)).train()
    module[1].eval()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    hardened(module, images, torch.zeros(5, dtype=torch.long), 0.03, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert module[0].training and not module[1].training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_label_does_not_leak() -> None:
    """Without labels the change goes against what the module says, right or wrong, and labels change it."""
    victim, images, labels = toy()
    with torch.no_grad():
        victim.module[-1].bias += torch.tensor([3.0, 0.0, 0.0, 0.0])  # type: ignore[operator,union-attr]
        said = victim.module(images).argmax(1)
    assert (said != labels).any()

    def made(given: torch.Tensor | None) -> torch.Tensor:
        return hardened(victim.module, images, given, 0.02, generator=torch.Generator().manual_seed(0))

    assert torch.equal(made(None), made(said))
    assert not torch.equal(made(None), made(labels))
