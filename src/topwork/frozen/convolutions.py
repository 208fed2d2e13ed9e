"""Convolutions, pools and margins for OpenVINO, and their gradients to the picture by the kernels that are fast."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from topwork.frozen.making import Making, Node, NoRule, Output

aten = torch.ops.aten


def convolution_rule(made: Making, node: Node) -> Output:
    """A convolution, with the margin of zeros before it."""
    images, weight, bias, stride, padding, dilation, turned, _, groups = node.args
    if turned or len(made.shape(images)) != 4:
        raise NoRule(f"{node.target}: transposed, or not over pictures")
    begin, end = list(padding), list(padding)
    margin = zero_margin(images)
    if margin is not None and not any(padding):
        images, begin, end = images.args[0], *margin
    # Forward, a margin of zeros is part of the convolution; so it is backward, in `padded_rule`.
    convolve = made.ops.convolution if groups == 1 else made.ops.group_convolution
    found = convolve(made.of(images), made.weights(weight, groups), list(stride), begin, end, list(dilation))
    if bias is None:
        return found
    return made.ops.add(found, made.constant(made.array(bias).reshape(1, -1, 1, 1)))


def convolution_back_rule(made: Making, node: Node) -> list[Output]:
    """The gradient to a convolution's input."""
    return [convolution_back(made, node, [0, 0], [0, 0])]


def convolution_back(made: Making, node: Node, begin: Sequence[int], end: Sequence[int]) -> Output:
    """The gradient to a convolution's input, less a margin of rows and columns that nobody asks for.

    It is itself a convolution, and where that pays it is written as an ordinary one: of stride 1, for only what lies before
    such a one does OpenVINO compute in a lower precision; and strided by groups, whose own kernels are slow there.
    """
    gradient, images, weight, _, stride, padding, dilation, turned, _, groups = node.args[:10]
    if turned:
        raise NoRule(f"{node.target}: transposed")
    wanted, given, kernel = made.shape(images)[2:], made.shape(gradient)[2:], made.shape(weight)[2:]
    begin = [p + more for p, more in zip(padding, begin, strict=True)]
    end = [p + more for p, more in zip(padding, end, strict=True)]
    left = [  # rows that no step of the convolution reached
        want + 2 * p - ((have - 1) * s + d * (k - 1) + 1)
        for want, p, have, s, d, k in zip(wanted, padding, given, stride, dilation, kernel, strict=True)
    ]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before = [r - p for r, p in zip(reach, begin, strict=True)]
    after = [r - p + more - (s - 1) for r, p, more, s in zip(reach, end, left, stride, strict=True)]
    if (set(stride) == {1} or groups > 1) and min(*before, *after) >= 0:
        convolve = made.ops.convolution if groups == 1 else made.ops.group_convolution
        weights = made.turned_weights(weight, groups)
        return convolve(spaced(made, gradient, stride), weights, [1, 1], before, after, list(dilation))
    back = made.ops.convolution_backprop_data if groups == 1 else made.ops.group_convolution_backprop_data
    weights = made.weights(weight, groups, back=True)
    return back(made.of(gradient), weights, list(stride), None, begin, end, list(dilation), output_padding=left)


def spaced(made: Making, node: Node, stride: Sequence[int]) -> Output:
    """Maps with stride - 1 zeros after each row and column."""
    if set(stride) == {1}:
        return made.of(node)
    sides = [side * step for side, step in zip(made.shape(node)[2:], stride, strict=True)]
    places = [(np.arange(side) % step == 0).astype(np.float32) for side, step in zip(sides, stride, strict=True)]
    return made.ops.multiply(repeated(made, made.of(node), sides), made.constant(np.outer(*places)[None, None]))


def repeated(made: Making, maps: Output, sides: Sequence[int]) -> Output:
    """Maps scaled up to `sides`, whole multiples of theirs: each value fills a window."""
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "axes": made.whole([2, 3])}
    return made.ops.interpolate(maps, made.whole(sides), "nearest", "sizes", **how)


def zero_margin(node: Node) -> tuple[list[int], list[int]] | None:
    """(begin, end) of the last two axes, where `node` puts zeros around pictures or, negative, cuts a margin off."""
    if node.target is not aten.constant_pad_nd.default or len(node.args[1]) != 4:
        return None
    if len(node.args) > 2 and node.args[2]:
        return None
    left, right, top, bottom = node.args[1]
    return [top, left], [bottom, right]


def padded_rule(made: Making, node: Node) -> Output:
    """A margin put around pictures, or cut off them."""
    images, pads = node.args[:2]
    margin = zero_margin(node)
    if margin is not None and max(pads) <= 0:
        source = images
        if source.target is operator.getitem and source.args[0].target is aten.convolution_backward.default:
            begin, end = ([-one for one in side] for side in margin)
            return convolution_back(made, source.args[0], begin, end)
    axes = len(made.shape(images))
    begin, end = [0] * axes, [0] * axes
    for place in range(len(pads) // 2):
        begin[axes - 1 - place], end[axes - 1 - place] = pads[2 * place], pads[2 * place + 1]
    found = made.of(images)
    if min(pads) < 0:
        stop = [size + min(one, 0) for size, one in zip(made.shape(images), end, strict=True)]
        found = made.ops.slice(found, made.whole([max(-one, 0) for one in begin]), made.whole(stop), made.whole([1] * axes))
    if max(pads) > 0:
        sides = ([max(one, 0) for one in side] for side in (begin, end))
        value = made.constant(np.float32(node.args[2] if len(node.args) > 2 else 0))
        found = made.ops.pad(found, *map(made.whole, sides), "constant", arg_pad_value=value)
    return found


def pool_rule(made: Making, node: Node) -> list[Output]:
    """The largest value of each window."""
    images, kernel, stride = node.args[:3]
    padding = node.args[3] if len(node.args) > 3 else [0, 0]
    rest = node.args[4:]
    if any(one not in ([1, 1], False, 1) for one in rest):
        raise NoRule(f"{node.target} with {rest}")
    pads = list(padding), list(padding)
    found = made.ops.max_pool(made.of(images), list(stride), [1, 1], *pads, list(kernel))
    return [found.output(0), None]  # the places of the maxima are found anew, by `pool_back_rule`


def pool_back_rule(made: Making, node: Node) -> Output:
    """Each maximum passes its gradient to where it came from: found by comparing all places of a window with it.

    Where several places hold the maximum they share it, and torch gives it to the first: they differ only where values are
    equal to the last bit, on a plain background or after a rectifier at 0, and add up to the same.
    """
    gradient, images, kernel, stride, padding, dilation, ceil, indices = node.args
    if ceil or dilation != [1, 1]:
        raise NoRule(f"{node.target} with ceil_mode or dilation")
    maximum = made.outputs[indices.args[0]][0]
    channels, wanted, given = made.shape(images)[1], made.shape(images)[2:], made.shape(gradient)[2:]
    pads = list(padding), list(padding)
    left = [
        want + 2 * p - ((have - 1) * s + k) for want, p, have, s, k in zip(wanted, padding, given, stride, kernel, strict=True)
    ]

    def spread(values: Output, places: NDArray[np.float32]) -> Output:
        """Each value at those places of its window that hold 1."""
        weight = made.constant(np.broadcast_to(places, (channels, 1, 1, *kernel)))
        return made.ops.group_convolution_backprop_data(values, weight, list(stride), None, *pads, [1, 1], output_padding=left)

    def gathered(values: Output, places: NDArray[np.float32]) -> Output:
        """The sum of those places of each window that hold 1."""
        weight = made.constant(np.broadcast_to(places, (channels, 1, 1, *kernel)))
        return made.ops.group_convolution(values, weight, list(stride), *pads, [1, 1])

    def shared(count: Output) -> Output:
        """The gradient of each window, divided among as many places; in a low precision there may be none."""
        return made.ops.divide(made.of(gradient), made.ops.maximum(count, made.of(1.0)))

    every = np.ones(kernel, np.float32)
    if list(kernel) == list(stride):  # windows do not overlap: one comparison for all places

        def filled(values: Output) -> Output:
            if any(left) or any(padding):
                return spread(values, every)
            return repeated(made, values, wanted)

        mine = made.ops.convert(made.ops.equal(made.of(images), filled(maximum)), "f32")
        return made.ops.multiply(filled(shared(gathered(mine, every))), mine)
    places = np.eye(every.size, dtype=np.float32).reshape(-1, *kernel)
    hold = [made.ops.convert(made.ops.equal(gathered(made.of(images), place), maximum), "f32") for place in places]
    shares = shared(functools.reduce(made.ops.add, hold))
    parts = [spread(made.ops.multiply(shares, mine), place) for mine, place in zip(hold, places, strict=True)]
    return functools.reduce(made.ops.add, parts)


def mean_pool_rule(made: Making, node: Node) -> Output:
    """The mean of each window."""
    kernel, stride, pads, counted = _mean_pool(made, node, node.args[0], node.args[1:])
    return made.ops.avg_pool(made.of(node.args[0]), stride, pads, pads, kernel, not counted)


def mean_pool_back_rule(made: Making, node: Node) -> Output:
    """Each place of a window gets an equal share of its gradient."""
    gradient, images = node.args[:2]
    kernel, stride, pads, counted = _mean_pool(made, node, images, node.args[2:])
    if any(pads) and not counted:
        raise NoRule(f"{node.target} with a margin that does not count")
    channels, wanted, given = made.shape(images)[1], made.shape(images)[2:], made.shape(gradient)[2:]
    left = [
        want + 2 * p - ((have - 1) * s + k) for want, p, have, s, k in zip(wanted, pads, given, stride, kernel, strict=True)
    ]
    weight = made.constant(np.full((channels, 1, 1, *kernel), 1 / math.prod(kernel), np.float32))
    return made.ops.group_convolution_backprop_data(
        made.of(gradient), weight, stride, None, pads, pads, [1, 1], output_padding=left
    )


def _mean_pool(made: Making, node: Node, images: Node, given: Sequence[Any]) -> tuple[list[int], list[int], list[int], bool]:
    """(kernel, stride, margin, whether the margin counts) of a pool of means."""
    unset: list[Any] = [None, [], [0, 0], False, True, None]
    kernel, stride, pads, ceil, counted, divisor = [*given, *unset[len(given) :]]
    stride = stride or kernel
    sides = zip(made.shape(images)[2:], pads, kernel, stride, strict=True)
    if divisor is not None or (ceil and any((size + 2 * pad - window) % step for size, pad, window, step in sides)):
        raise NoRule(f"{node.target} with windows that are cut off, or a divisor")
    return list(kernel), list(stride), list(pads), bool(counted)
