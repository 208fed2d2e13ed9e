"""From the operations of torch to those of OpenVINO: one rule for each."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from topwork.features.engines import openvino
from topwork.frozen.convolutions import (
    convolution_back_rule,
    convolution_rule,
    mean_pool_back_rule,
    mean_pool_rule,
    padded_rule,
    pool_back_rule,
    pool_rule,
)
from topwork.frozen.making import Making, Node, NoRule, Output

aten = torch.ops.aten


def openvino_model(graph: fx.GraphModule) -> Any:
    """The OpenVINO model of a graph of plain operations with fixed shapes. Raises NoRule naming the operation."""
    ov = openvino()
    from openvino import opset13 as ops

    made = Making(graph, ops)
    inputs, outputs = [], []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            made.outputs[node] = ops.parameter(list(node.meta["val"].shape), np.float32)
            inputs.append(made.outputs[node])
        elif node.op == "call_function":
            made.outputs[node] = _made(made, node)
        elif node.op == "output":
            outputs = [made.of(one) for one in (node.args[0] if isinstance(node.args[0], (tuple, list)) else [node.args[0]])]
    return ov.Model([one.output(0) if isinstance(one, ov.Node) else one for one in outputs], inputs, "frozen")


def _made(made: Making, node: Node) -> Output:
    """The output of one operation, whose arguments are made."""
    target: Any = node.target
    if target is operator.getitem:
        return made.outputs[node.args[0]][node.args[1]]
    if target in RULES:
        return RULES[target](made, node)
    if target in _SAME:
        return made.of(node.args[0])
    if target in _ONE or target in _TWO:
        name = _ONE.get(target) or _TWO[target]
        some = node.args[: 1 if target in _ONE else 2]
        if any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in node.kwargs.values()):
            raise NoRule(f"{target} with {node.kwargs}")
        given = [made.of(one, made.kind(node)) for one in some]
        if target is aten.mul.Tensor:
            given = [made.ops.convert(one, "f32") if made.is_mask(arg) else one for one, arg in zip(given, some, strict=True)]
        return getattr(made.ops, name)(*given)
    raise NoRule(f"{target}: no rule for this operation")


def _clamp(made: Making, node: Node) -> Output:
    unset: list[Any] = [-1, 1] if node.target is aten.hardtanh.default else [None, None]
    low, high = list(node.args[1:]) + unset[len(node.args) - 1 :]
    largest = float(np.finfo(np.float32).max)
    return made.ops.clamp(made.of(node.args[0]), -largest if low is None else low, largest if high is None else high)


def _clamp_back(made: Making, node: Node) -> Output:
    """1 inside and 0 outside; asked of the clamped value, so that the value before it need not be kept."""
    gradient, before, low, high = node.args
    after: Any = next((user for user in before.users if user.target is aten.hardtanh.default), before)
    ops, value = made.ops, made.of(after)
    inside = ops.logical_and(ops.greater(value, made.of(low)), ops.less(value, made.of(high)))
    return ops.multiply(made.of(gradient), ops.convert(inside, "f32"))


def _rectified_back(made: Making, node: Node) -> Output:
    gradient, value, threshold = node.args
    return made.ops.multiply(made.of(gradient), made.ops.convert(made.ops.greater(made.of(value), made.of(threshold)), "f32"))


def _axes(made: Making, node: Node) -> Output:
    axes = node.args[1] if len(node.args) > 1 and node.args[1] is not None else range(len(made.shape(node.args[0])))
    return made.whole([axes] if isinstance(axes, int) else list(axes))


def _reduced(name: str) -> Callable[[Making, Node], Output]:
    def rule(made: Making, node: Node) -> Output:
        keep = bool(node.args[2]) if len(node.args) > 2 else False
        value = made.of(node.args[0])
        if made.is_mask(node.args[0]):
            value = made.ops.convert(value, "f32")  # a count
        return getattr(made.ops, name)(value, _axes(made, node), keep)

    return rule


def _variance(made: Making, node: Node) -> Output:
    """The variance of some axes, and with var_mean the mean beside it."""
    ops, value, axes = made.ops, made.of(node.args[0]), _axes(made, node)
    keep = bool(node.kwargs.get("keepdim", False))
    size = np.prod([made.shape(node.args[0])[axis] for axis in node.args[1]])
    correction = node.kwargs.get("correction", 1)
    away = ops.subtract(value, ops.reduce_mean(value, axes, True))
    total = ops.reduce_sum(ops.multiply(away, away), axes, keep)
    variance = ops.divide(total, made.of(float(size - (1 if correction is None else correction))))
    return variance if node.target is aten.var.correction else [variance, ops.reduce_mean(value, axes, keep)]


def _layer_norm(made: Making, node: Node) -> list[Output]:
    """(normalised, mean, 1 / deviation) over the last axes (Ba 2016)."""
    images, shape, weight, bias, epsilon = node.args
    ops, value = made.ops, made.of(images)
    axes = made.whole(range(-len(shape), 0))
    mean = ops.reduce_mean(value, axes, True)
    away = ops.subtract(value, mean)
    variance = ops.reduce_mean(ops.multiply(away, away), axes, True)
    scale = ops.divide(made.of(1.0), ops.sqrt(ops.add(variance, made.of(epsilon))))
    found = ops.multiply(away, scale)
    found = found if weight is None else ops.multiply(found, made.of(weight))
    return [found if bias is None else ops.add(found, made.of(bias)), mean, scale]


def _flipped(made: Making, node: Node) -> Output:
    axes = list(node.args[1])
    whole = [made.whole([one] * len(axes)) for one in (-1, np.iinfo(np.int64).min, -1)]
    return made.ops.slice(made.of(node.args[0]), *whole, made.whole(axes))


def _bounds(made: Making, node: Node, first: int) -> tuple[int, int, int, int]:
    """(axis, start, stop, step) of a slice, from the argument `first` on; negative ends counted from the back."""
    unset: list[Any] = [0, None, None, 1]
    axis, start, stop, step = list(node.args[first:]) + unset[len(node.args) - first :]
    size = made.shape(node.args[0])[axis]
    start, stop = start or 0, size if stop is None else min(stop, size)
    return axis % len(made.shape(node.args[0])), start + size * (start < 0), stop + size * (stop < 0), step


def _sliced(made: Making, node: Node) -> Output:
    axis, start, stop, step = _bounds(made, node, 1)
    whole = made.whole
    return made.ops.slice(made.of(node.args[0]), whole([start]), whole([stop]), whole([step]), whole([axis]))


def _scattered(made: Making, node: Node) -> Output:
    """slice_scatter into zeros, the gradient of a slice: zeros around it."""
    base, part = node.args[:2]
    if base.target is not aten.full.default or base.args[1] != 0:
        raise NoRule(f"{node.target}: into something else than zeros")
    axis, start, stop, step = _bounds(made, node, 2)
    shape = made.shape(base)
    if step != 1:
        raise NoRule(f"{node.target}: with steps")
    begin, end = [0] * len(shape), [0] * len(shape)
    begin[axis], end[axis] = start, shape[axis] - stop
    zero = made.constant(np.float32(0))
    return made.ops.pad(made.of(part), made.whole(begin), made.whole(end), "constant", arg_pad_value=zero)


def _joined(made: Making, node: Node) -> Output:
    return made.ops.concat([made.of(one) for one in node.args[0]], node.args[1] if len(node.args) > 1 else 0)


def _reshaped(made: Making, node: Node) -> Output:
    return made.ops.reshape(made.of(node.args[0]), made.whole(made.shape(node)), False)


def _expanded(made: Making, node: Node) -> Output:
    return made.ops.broadcast(made.of(node.args[0]), made.whole(made.shape(node)))


def _permuted(made: Making, node: Node) -> Output:
    order = list(range(len(made.shape(node.args[0]))))
    if node.target is aten.permute.default:
        order = [axis % len(order) for axis in node.args[1]]
    else:
        first, second = node.args[1:3] if node.target is aten.transpose.int else (0, 1)
        order[first], order[second] = order[second], order[first]
    if node.args[0].op == "get_attr" and made.shape(node) == made.shape(node.args[0]):
        return made.constant(made.array(node.args[0]).transpose(order))  # a square one of its own: see Making.weights
    return made.ops.transpose(made.of(node.args[0]), made.whole(order))


def _product(made: Making, node: Node) -> Output:
    added = node.target is aten.addmm.default
    first, second = node.args[1:3] if added else node.args[:2]
    found = made.ops.matmul(made.of(first), made.of(second), False, False)
    return made.ops.add(found, made.of(node.args[0])) if added else found


def _filled(made: Making, node: Node) -> Output:
    value = node.args[0] if node.target is aten.scalar_tensor.default else node.args[1]
    shape = [] if node.target is aten.scalar_tensor.default else made.shape(node)
    return made.constant(np.full(shape, value, np.float32))


def _picked(made: Making, node: Node) -> Output:
    axis, places = _index(made, node)
    return made.ops.gather(made.of(node.args[0]), made.whole(places), made.constant(np.int64(axis)))


def _put_back(made: Making, node: Node) -> Output:
    """The gradient of an index that changes the order of channels: the order changed back."""
    base, _, part = node.args[:3]
    axis, places = _index(made, node)
    whole = sorted(places) == list(range(made.shape(base)[axis]))
    if not whole or base.target is not aten.full.default or base.args[1] != 0:
        raise NoRule(f"{node.target}: more than another order of channels")
    return made.ops.gather(made.of(part), made.whole(np.argsort(places)), made.constant(np.int64(axis)))


def _index(made: Making, node: Node) -> tuple[int, list[int]]:
    """(axis, places) of an index with fixed places along one axis."""
    given = [axis for axis, one in enumerate(node.args[1]) if one is not None]
    if len(given) != 1:
        raise NoRule(f"{node.target}: along several axes")
    return given[0], made.array(node.args[1][given[0]]).reshape(-1).tolist()


def _counted(made: Making, node: Node) -> Output:
    return made.constant(np.arange(*node.args[:3]))


def _gelu(made: Making, node: Node) -> Output:
    return made.ops.gelu(made.of(node.args[0]), "TANH" if node.kwargs.get("approximate") == "tanh" else "ERF")


def _largest(made: Making, node: Node) -> list[Output]:
    """(the largest values, their places), from the largest on."""
    values, count = node.args[:2]
    axis = node.args[2] if len(node.args) > 2 else -1
    if len(node.args) > 3 and not node.args[3]:
        raise NoRule(f"{node.target}: the smallest")
    found = made.ops.topk(made.of(values), made.constant(np.int64(count)), axis, "max", "value", index_element_type="i64")
    return [found.output(0), found.output(1)]


def _set(made: Making, node: Node) -> Output:
    """One number put in places along an axis."""
    base, axis, places, value = node.args
    updates = made.constant(np.full(made.shape(places), value, np.float32))
    return made.ops.scatter_elements_update(made.of(base), made.of(places), updates, made.constant(np.int64(axis)))


def _copied(made: Making, node: Node) -> Output:
    """Written over a table that nobody reads afterwards."""
    if made.shape(node.args[1]) != made.shape(node):
        raise NoRule(f"{node.target}: of another shape")
    return made.of(node.args[1])


def _half_root(made: Making, node: Node) -> Output:
    return made.ops.divide(made.of(1.0), made.ops.sqrt(made.of(node.args[0])))


def _cast(made: Making, node: Node) -> Output:
    kinds = {torch.float32: "f32", torch.bool: "boolean", torch.int64: "i64"}
    kind: Any = node.kwargs.get("dtype", node.meta["val"].dtype)
    if kind not in kinds:
        raise NoRule(f"{node.target} to {kind}")
    return made.ops.convert(made.of(node.args[0]), kinds[kind])


RULES: dict[Any, Callable[[Making, Node], Output]] = {
    aten.convolution.default: convolution_rule,
    aten.convolution_backward.default: convolution_back_rule,
    aten.constant_pad_nd.default: padded_rule,
    aten.max_pool2d_with_indices.default: pool_rule,
    aten.max_pool2d_with_indices_backward.default: pool_back_rule,
    aten.avg_pool2d.default: mean_pool_rule,
    aten.avg_pool2d_backward.default: mean_pool_back_rule,
    aten.hardtanh.default: _clamp,
    aten.clamp.default: _clamp,
    aten.hardtanh_backward.default: _clamp_back,
    aten.threshold_backward.default: _rectified_back,
    aten.mean.dim: _reduced("reduce_mean"),
    aten.sum.dim_IntList: _reduced("reduce_sum"),
    aten.amax.default: _reduced("reduce_max"),
    aten.var_mean.correction: _variance,
    aten.var.correction: _variance,
    aten.native_layer_norm.default: _layer_norm,
    aten.slice.Tensor: _sliced,
    aten.slice_scatter.default: _scattered,
    aten.select.int: lambda made, node: made.ops.gather(
        made.of(node.args[0]), made.constant(np.int64(node.args[2])), made.constant(np.int64(node.args[1]))
    ),
    aten.topk.default: _largest,
    aten.scatter.value: _set,
    aten.copy_.default: _copied,
    aten.flip.default: _flipped,
    aten.index.Tensor: _picked,
    aten.index_put.default: _put_back,
    aten._unsafe_index_put.default: _put_back,
    aten.cat.default: _joined,
    aten.expand.default: _expanded,
    aten.permute.default: _permuted,
    aten.transpose.int: _permuted,
    aten.t.default: _permuted,
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _product,
    aten.full.default: _filled,
    aten.full_like.default: _filled,
    aten.arange.start_step: _counted,
    aten.scalar_tensor.default: _filled,
    aten.gelu.default: _gelu,
    aten.rsqrt.default: _half_root,
    aten._to_copy.default: _cast,
    aten._softmax.default: lambda made, node: made.ops.softmax(made.of(node.args[0]), node.args[1]),
    aten.where.self: lambda made, node: made.ops.select(*map(made.of, node.args)),
    **dict.fromkeys(
        (
            aten.view.default,
            aten._unsafe_view.default,
            aten.reshape.default,
            aten.squeeze.dim,
            aten.squeeze.dims,
            aten.unsqueeze.default,
        ),
        _reshaped,
    ),
}

_SAME = {aten.alias.default, aten.clone.default, aten.detach.default, aten.lift_fresh_copy.default}

_ONE = {
    aten.relu.default: "relu",
    aten.sigmoid.default: "sigmoid",
    aten.tanh.default: "tanh",
    aten.exp.default: "exp",
    aten.log.default: "log",
    aten.erf.default: "erf",
    aten.sqrt.default: "sqrt",
    aten.abs.default: "abs",
    aten.sign.default: "sign",
    aten.sgn.default: "sign",
    aten.neg.default: "negative",
    aten.logical_not.default: "logical_not",
    aten.bitwise_not.default: "logical_not",
}

_TWO = {
    aten.add.Tensor: "add",
    aten.add.Scalar: "add",
    aten.sub.Tensor: "subtract",
    aten.sub.Scalar: "subtract",
    aten.mul.Tensor: "multiply",
    aten.mul.Scalar: "multiply",
    aten.div.Tensor: "divide",
    aten.div.Scalar: "divide",
    aten.pow.Tensor_Scalar: "power",
    aten.maximum.default: "maximum",
    aten.minimum.default: "minimum",
    aten.le.Scalar: "less_equal",
    aten.lt.Scalar: "less",
    aten.ge.Scalar: "greater_equal",
    aten.gt.Scalar: "greater",
    aten.eq.Scalar: "equal",
    aten.eq.Tensor: "equal",
    aten.ne.Scalar: "not_equal",
    aten.le.Tensor: "less_equal",
    aten.lt.Tensor: "less",
    aten.ge.Tensor: "greater_equal",
    aten.gt.Tensor: "greater",
    aten.logical_and.default: "logical_and",
    aten.logical_or.default: "logical_or",
    aten.bitwise_and.Tensor: "logical_and",
    aten.bitwise_or.Tensor: "logical_or",
}
