"""The inner half of adversarial training: a batch changed so that the loss is as high as it gets (Madry 2018)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from topwork.attack.losses import Aim, CrossEntropy
from topwork.attack.norms import Norm, direction, each, project, random_change
from topwork.attack.victim import cotangent


def hardened(
    module: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    epsilon: float,
    *,
    steps: int = 1,
    norm: Norm = "linf",
    generator: torch.Generator,
) -> Tensor:
    """images (N, 3, H, W) changed within epsilon to raise the loss; `module` and its statistics stay as they are.

    The loss is that of labels (N,); where they are None, of what the module itself finds likeliest, so that the change cannot
    give the label away to a module that learns from it (label leaking, Kurakin 2017). steps: 1 is one step of 1.25 epsilon
    from a random start (Wong 2020), more are steps of 2.5 epsilon / steps.
    """
    reach = torch.full((len(images),), epsilon)
    start = random_change(images, reach, norm, generator).to(images.device)  # drawn on the CPU: the same on every device
    reach = reach.to(images.device)
    length = 1.25 * epsilon if steps == 1 else 2.5 * epsilon / steps
    with _still(module):
        if labels is None:
            with torch.no_grad():
                labels = module(images).argmax(1)
        loss = CrossEntropy(Aim(labels))
        current = (images + start).clamp_(0, 1)
        for _ in range(steps):
            leaf = current.detach().requires_grad_(True)
            with torch.enable_grad():
                logits = module(leaf)
            (gradient,) = torch.autograd.grad(logits, leaf, cotangent(logits.detach(), loss))
            current = project(
                current + each(reach * (length / epsilon), gradient) * direction(gradient, norm), images, reach, norm
            )
    return current.detach()


@contextlib.contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """In eval mode inside, each part as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
