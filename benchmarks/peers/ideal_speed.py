"""Seconds of one step of the default recipe on ten pictures: eager torch, the folded network in torch, the frozen gradient."""

import json
import sys
import time

import torch
from torch import Tensor, nn

from topwork import load_backbone
from topwork.frozen.gradient import FrozenGradient, frozen_gradient
from topwork.grafted import Grafted, grafted
from topwork.look.ideal import FOURIER
from topwork.look.parameters import parameters
from topwork.look.transforms import Views

COUNT = 10


class Eager:
    """The network as it is, in torch."""

    def __init__(self, network: Grafted) -> None:
        self.network = network

    def __call__(self, images: Tensor, linear: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.clone().requires_grad_(True)
        logits = self.network(leaf)
        (gradient,) = torch.autograd.grad((linear * logits).sum(), leaf)
        return logits.detach(), gradient


def seconds(gradient: "Eager | FrozenGradient", size: int, classes: int, steps: int) -> float:
    """The middle of the steps' times, the first left out."""
    generator = torch.Generator().manual_seed(0)
    made = parameters("fourier", COUNT, size, generator)
    views = Views(size, FOURIER.transforms, generator)
    optimiser = torch.optim.Adam(made.leaves, lr=FOURIER.rate, fused=True)
    linear = nn.functional.one_hot(torch.arange(COUNT), classes).float()
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        seen = views(made.images())
        optimiser.zero_grad(set_to_none=True)
        seen.backward(-gradient(seen.detach(), linear)[1])
        optimiser.step()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[len(times[1:]) // 2]


name, steps = sys.argv[1], int(sys.argv[2])
network = grafted(load_backbone(name, "pretrained" if name == "lite0" else "random"))
size, classes = network.spec.geometry.size, len(network.classes)
ways = {
    "eager torch": Eager(network),
    "folded torch": frozen_gradient(network, size, engine="torch"),
    "frozen gradient": frozen_gradient(network, size, keep=False),
}
print(json.dumps({way: seconds(gradient, size, classes, steps) for way, gradient in ways.items()}))
