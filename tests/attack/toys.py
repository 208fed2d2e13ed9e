"""Small networks and pictures that attacks are tried on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from topwork.attack.victim import Network, network

CLASSES = 4


def toy(seed: int = 0, classes: int = CLASSES) -> tuple[Network, Tensor, Tensor]:
    """(victim, images (12, 3, 8, 8), labels): a small convolutional network and pictures it reads as labelled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(72, classes),
        ).eval()
        images = torch.rand(12, 3, 8, 8) * 0.8 + 0.1
    with torch.no_grad():
        module[-1].bias -= module(images).mean(0)  # type: ignore[operator,union-attr] - so that all classes are seen
        module[-1].weight *= 4  # type: ignore[operator,union-attr]
        module[-1].bias *= 4  # type: ignore[operator,union-attr]
        labels = module(images).argmax(1)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return network(module, classes), images, labels


class Plane(nn.Module):
    """Two classes on the two sides of a plane: the distance to the border is known."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.way = torch.randn(3 * 8 * 8, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        height = (images - 0.5).flatten(1) @ self.way
        return torch.stack([height, -height], dim=1)


class Masked(nn.Module):
    """A network whose gradient says nothing: it sees rounded pictures."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module((images * 20).round() / 20 + 0 * images)
