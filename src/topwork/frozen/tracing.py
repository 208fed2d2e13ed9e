"""A network as a flat list of tensor operations: forward with batch normalisation folded in, and forward with its gradient."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

aten = torch.ops.aten

_NORMS = (
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit_no_training.default,
    aten._native_batch_norm_legit.default,
)

_KEPT = (
    aten.convolution_backward.default,
    aten.hardtanh.default,
    aten.hardtanh_backward.default,
    aten.threshold_backward.default,
    aten.avg_pool2d_backward.default,
    aten.max_pool2d_with_indices_backward.default,
)
"""Operations that `topwork.frozen.rules` knows as a whole and that must not be taken apart."""


def forward_graph(network: Callable[..., Any], *given: Tensor) -> fx.GraphModule:
    """`network` for tensors of these shapes as plain operations, batch normalisation folded into the convolutions before it.

    Its numbers are the network's own up to rounding; it has no parameter that wants a gradient, and changes nothing in place.
    """
    with torch.no_grad(), _quiet(), sdpa_kernel(SDPBackend.MATH):
        # Without functionalize, in-place activations would overwrite what the gradient needs.
        plain: Callable[..., Any] = torch.func.functionalize(lambda *some: network(*some), remove="mutations")
        module: fx.GraphModule = make_fx(plain)(*given)
        for node in module.graph.nodes:
            if node.target is aten._safe_softmax.default:  # safe for rows that are masked whole; nothing is masked here
                node.target, node.args = aten._softmax.default, (*node.args[:2], False)
            if node.target is aten.alias.default:  # what tracing makes of detach, and no gradient may pass there
                node.target = torch.detach
            if node.target is aten.as_strided_.default and _one_row(node):  # another order in memory of the same values
                node.replace_all_uses_with(node.args[0])
        _settle(module)
        _fold(module)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def gradient_graph(forward: fx.GraphModule, images: Tensor) -> fx.GraphModule:
    """(images (N, 3, H, W), linear (N, K), entropy (N, 1)) -> (logits (N, K), gradient of the objective to the images).

    The objective of a picture is sum(linear * logits) - entropy * logsumexp(logits): a logit, a difference of two, or the
    negative cross-entropy.
    """
    with torch.no_grad():
        logits = forward(images)

    def both(x: Tensor, linear: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_(True)
        logits = forward(x)
        (gradient,) = torch.autograd.grad(logits, x, cotangent(logits.detach(), linear, entropy))
        return logits.detach(), gradient

    return plain_graph(both, images, torch.zeros_like(logits), logits[:, :1] * 0)


def plain_graph(function: Callable[..., Any], *given: Tensor) -> fx.GraphModule:
    """A function that takes gradients, for tensors of these shapes as the operations that `topwork.frozen.rules` knows."""
    table = dict(core_aten_decompositions())
    for kept in _KEPT:
        table.pop(kept, None)
    with _quiet(), sdpa_kernel(SDPBackend.MATH):
        module: fx.GraphModule = make_fx(function, decomposition_table=table)(*given)
    _drop_unused(module)
    return module


def cotangent(logits: Tensor, linear: Tensor, entropy: Tensor) -> Tensor:
    """Gradient (N, K) of sum(linear * logits) - entropy * logsumexp(logits) to the logits (N, K)."""
    return linear - entropy * logits.softmax(1)


def _one_row(node: fx.Node) -> bool:
    """Whether a table has the shape of that which it is made of, and values along one axis alone."""
    shapes: list[Any] = [one.meta["val"].shape for one in (node, node.args[0]) if isinstance(one, fx.Node)]
    return bool(shapes[0] == shapes[-1]) and sum(size > 1 for size in shapes[0]) <= 1


def _fold(module: fx.GraphModule) -> None:
    """Take batch normalisation with fixed statistics into the convolution before it (Jacob 2018, section 3.2)."""
    graph = module.graph
    for place, norm in enumerate(node for node in list(graph.nodes) if node.target in _NORMS):
        convolution = norm.args[0]
        if convolution.target is not aten.convolution.default or len(convolution.users) > 1 or convolution.args[6]:
            continue
        scale, shift = _scale_and_shift(module, norm)
        weight, bias = (_value(module, node) for node in convolution.args[1:3])
        assert weight is not None  # noqa: S101 - every convolution has a weight
        folded = {
            f"folded_weight{place}": weight * scale.view(-1, *[1] * (weight.ndim - 1)),
            f"folded_bias{place}": shift if bias is None else shift + bias * scale,
        }
        with graph.inserting_before(convolution):
            for name, value in folded.items():
                module.register_buffer(name, value.detach().clone())
            nodes = [graph.get_attr(name) for name in folded]
        convolution.args = (convolution.args[0], *nodes, *convolution.args[3:])
        for user in list(norm.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(convolution)
    _drop_unused(module)


def _settle(module: fx.GraphModule) -> None:
    """Compute once what depends on weights alone, such as another order of a kernel's axes (Keras)."""
    graph = module.graph
    for place, node in enumerate(list(graph.nodes)):
        inputs = node.all_input_nodes
        if node.op != "call_function" or not inputs or any(one.op != "get_attr" for one in inputs):
            continue
        value = node.target(*fx.map_arg(node.args, lambda one: _value(module, one)), **node.kwargs)
        if isinstance(value, Tensor):
            module.register_buffer(f"settled{place}", value.detach().clone())
            with graph.inserting_before(node):
                new = graph.get_attr(f"settled{place}")
            new.meta = dict(node.meta)
            node.replace_all_uses_with(new)
    _drop_unused(module)


def _drop_unused(module: fx.GraphModule) -> None:
    """Take out what nobody reads; nothing here has side effects."""
    for node in reversed(list(module.graph.nodes)):
        if not node.users and node.op in ("call_function", "get_attr"):
            module.graph.erase_node(node)
    module.recompile()


def _scale_and_shift(module: fx.GraphModule, norm: fx.Node) -> tuple[Tensor, Tensor]:
    weight, bias, mean, variance = (_value(module, node) for node in norm.args[1:5])
    assert mean is not None and variance is not None  # noqa: S101 - eval mode
    epsilon = norm.args[-1]
    assert isinstance(epsilon, float)  # noqa: S101
    scale = torch.rsqrt(variance + epsilon) if weight is None else weight * torch.rsqrt(variance + epsilon)
    return scale, -mean * scale if bias is None else bias - mean * scale


def _value(module: fx.GraphModule, node: Any) -> Tensor | None:
    """The constant that a node stands for."""
    if node is None:
        return None
    value: Tensor = getattr(module, node.target)
    return value


class _quiet(warnings.catch_warnings):  # noqa: N801 - reads as a word of the language
    """Tracing warns of things that are meant."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
