"""Logits of images and the gradient of an objective to them, through a network whose weights never change.

The gradient is written down once as a graph of plain operations, batch normalisation folded in, and OpenVINO runs it: one
picture per core at a time, activations fused, gradients of convolutions by the kernels that the processor is fast at. Where
that cannot be, torch runs the folded network. Both give autograd's numbers up to rounding.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, fx, nn

from topwork.errors import StorageError
from topwork.features.engines import openvino_precisions
from topwork.frozen.keeping import GRAPH, keep, kept_folder, told_with
from topwork.frozen.making import NoRule, check_same
from topwork.frozen.rules import openvino_model
from topwork.frozen.running import GradientGraph
from topwork.frozen.tracing import cotangent, forward_graph, gradient_graph
from topwork.zoo.backbone import state_sha256

Engine = Literal["auto", "openvino", "torch"]

AT_ONCE = 8
"""Pictures that torch differentiates at once on a processor: each takes up to some hundred megabytes."""


class FrozenGradient(Protocol):
    """Logits and gradients of a frozen network for images of one size."""

    engine: str
    precision: str
    reason: str
    """Why this engine."""

    def __call__(self, images: Tensor, linear: Tensor, entropy: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """(logits (N, K), gradient (N, 3, H, W)) of images (N, 3, H, W).

        The objective of a picture is sum(linear * logits) - entropy * logsumexp(logits), linear (N, K), entropy (N,) or one
        number: with a one-hot `linear` a logit (entropy 0) or the negative cross-entropy (entropy 1). For any other objective
        ask for its logits first, then pass its gradient to them as `linear`.
        """
        ...

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) alone, which takes less than half the time."""
        ...


def frozen_gradient(
    network: nn.Module, size: int, *, engine: Engine = "auto", precision: str = "auto", note: str = "", keep: bool = True
) -> FrozenGradient:
    """The fast gradient of `network`, from images (N, 3, size, size) to logits (N, K).

    engine: auto takes OpenVINO where it knows all of the network's operations. precision: f32, bf16, or auto: bf16 where the
    processor computes it by itself and it keeps what tells the logits apart. note: tells apart networks that have the same
    tensors. keep: the graph in the cache folder.
    """
    if engine == "torch" or next(network.parameters()).is_cuda:
        return TorchGradient(network, size, "asked for" if engine == "torch" else "the network is on a GPU")
    try:
        model = _model_files(network, size, note) if keep else written(network, size)
        found = OpenVinoGradient(model, openvino_precisions()[-1] if precision == "auto" else precision)
        if precision == "auto" and found.precision != "f32" and not _keeps_apart(found, network, size):
            return OpenVinoGradient(model, "f32")
        return found
    except NoRule as error:
        if engine == "openvino":
            raise
        return TorchGradient(network, size, str(error))


def _keeps_apart(found: OpenVinoGradient, network: nn.Module, size: int) -> bool:
    """Whether a lower precision errs by less than half of what the logits of noise spread by; else its gradients say little."""
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted: Tensor = network(images)
    logits, _ = found(images, torch.zeros_like(wanted))
    return bool((logits - wanted).square().mean().sqrt() < wanted.std() / 2)


class OpenVinoGradient:
    """The gradient as an OpenVINO graph for one picture, one picture per core at a time."""

    engine = "openvino"

    def __init__(self, model: Any, precision: str) -> None:
        self.precision = precision
        self.reason = "all operations of the network are known"
        self._graph = GradientGraph(model, precision)

    def __call__(self, images: Tensor, linear: Tensor, entropy: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """See FrozenGradient."""
        entropies = torch.as_tensor(entropy, dtype=torch.float32).reshape(-1, 1).expand(len(images), 1)
        logits, gradient = self._graph(*(one.detach().cpu().numpy() for one in (images, linear, entropies)))
        return torch.from_numpy(logits), torch.from_numpy(gradient)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) alone."""
        return torch.from_numpy(self._graph.logits(images.detach().cpu().numpy()))


class TorchGradient:
    """The folded network in torch, weights without gradient, channels_last: for GPUs, and for operations OpenVINO lacks."""

    engine = "torch"
    precision = "f32"

    def __init__(self, network: nn.Module, size: int, reason: str) -> None:
        self.reason = reason
        parameter = next(network.parameters())
        # Traced with two pictures: of one alone, a shape may be taken for a number.
        self._network: nn.Module = network
        with contextlib.suppress(RuntimeError, NotImplementedError):
            self._network = _flexible(network, torch.zeros(2, 3, size, size, device=parameter.device))
        self._device = parameter.device

    def __call__(self, images: Tensor, linear: Tensor, entropy: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """See FrozenGradient."""
        entropies = torch.as_tensor(entropy, dtype=torch.float32).reshape(-1, 1).expand(len(images), 1)
        some = len(images) if self._device.type == "cuda" else AT_ONCE
        parts = [
            self._some(*part) for part in zip(*(torch.split(one, some) for one in (images, linear, entropies)), strict=True)
        ]
        logits, gradients = zip(*parts, strict=True)
        return torch.cat(logits), torch.cat(gradients)

    def _some(self, images: Tensor, linear: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.detach().to(self._device, memory_format=torch.channels_last).requires_grad_(True)
        with torch.enable_grad():
            logits: Tensor = self._network(leaf)
        away = cotangent(logits.detach(), linear.to(self._device), entropies.to(self._device))
        (gradient,) = torch.autograd.grad(logits, leaf, away)
        return logits.detach().to(images.device), gradient.to(images.device, memory_format=torch.contiguous_format)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) alone."""
        with torch.inference_mode():
            found: Tensor = self._network(images.to(self._device, memory_format=torch.channels_last))
        return found.to(images.device)


def _flexible(network: nn.Module, images: Tensor) -> nn.Module:
    """The folded network, if it gives the network's own numbers for another batch size too; else the network itself."""
    folded: fx.GraphModule = forward_graph(network, images)
    with torch.inference_mode():
        for count in (1, 3):
            more = torch.rand(count, *images.shape[1:], device=images.device)
            if not torch.allclose(folded(more), network(more), rtol=1e-3, atol=1e-3):
                return network
    return folded.to(memory_format=torch.channels_last)


def written(network: nn.Module, size: int) -> Any:
    """The graph of `network`, once its numbers were seen to be torch's: an engine may err where all operations have a rule.

    Raises NoRule.
    """
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    model = openvino_model(gradient_graph(forward_graph(network, images), images))
    leaf = images.clone().requires_grad_(True)
    with torch.enable_grad():
        logits: Tensor = network(leaf)
    linear = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    (wanted,) = torch.autograd.grad(logits, leaf, linear)
    found_logits, found = OpenVinoGradient(model, "f32")(images, linear)
    check_same("logits", found_logits, logits.detach())
    check_same("gradient", found, wanted)
    return model


def _model_files(network: nn.Module, size: int, note: str) -> Any:
    """The kept graph of this network, made now where there is none; the graph itself where nothing can be kept."""
    facts = {
        "state": state_sha256(network.state_dict()),
        "kind": f"{type(network).__module__}.{type(network).__qualname__}",
        "text": hashlib.sha256(repr(network).encode()).hexdigest(),
        "note": note,
        "size": str(size),
    }
    try:
        folder = kept_folder("gradients", facts)
        if told_with(folder) is None:
            model = written(network, size)
            if not keep(folder, model, 3 * 4 * sum(parameter.numel() for parameter in network.parameters())):
                return model
        return folder / GRAPH
    except StorageError:
        return written(network, size)
