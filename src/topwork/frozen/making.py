"""What is made so far of a graph of torch's operations on its way to OpenVINO, and what every rule needs of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from topwork.errors import TopworkError

Node = Any
"""A node of torch's graph (fx.Node), whose arguments may be anything."""
Output = Any
"""A node of OpenVINO's graph, or one of its outputs."""


_COPIES = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.clone.default, torch.ops.aten.alias.default)


class NoRule(TopworkError):
    """An operation of the network has no counterpart here."""


FAR = 0.05
"""Share of its length by which an engine's answer may differ from torch's: folding moves a few activations over an edge."""

TINY = 1e-6
"""By which they may always differ: all may be 0."""


def check_same(name: str, found: Tensor, wanted: Tensor) -> None:
    """Raise NoRule unless an engine's numbers are torch's, up to rounding."""
    if not float((found - wanted).norm()) <= FAR * float(wanted.norm()) + TINY:
        raise NoRule(f"{name}: the engine's numbers are not torch's")


class Making:
    """What was made so far of a graph: an OpenVINO output for each node."""

    def __init__(self, graph: fx.GraphModule, ops: Any) -> None:
        self.graph, self.ops = graph, ops
        self.outputs: dict[Node, Output] = {}
        self._constants: dict[str, Output] = {}

    def of(self, value: Any, kind: Any = np.float32) -> Output:
        """The output of an argument: a node, a tensor the graph holds, or a number."""
        if isinstance(value, fx.Node):
            if value.op != "get_attr":
                return self.outputs[value]
            name = str(value.target)
            if name not in self._constants:
                self._constants[name] = self.constant(self.array(value))
            return self._constants[name]
        return self.constant(np.array(value, kind))

    def array(self, node: Node) -> NDArray[Any]:
        """The values of a tensor the graph holds."""
        if node.target in _COPIES:
            return self.array(node.args[0])
        if node.op != "get_attr":
            raise NoRule(f"{node.target}: a weight that is computed")
        value: NDArray[Any] = getattr(self.graph, str(node.target)).detach().contiguous().numpy()
        return value

    def constant(self, value: Any) -> Output:
        """Values as a part of the graph; a single number keeps its shape ()."""
        return self.ops.constant(np.array(value, order="C"))

    def whole(self, numbers: Iterable[int]) -> Output:
        """Whole numbers: shapes, axes, pads."""
        return self.constant(np.array(list(numbers), np.int64))

    def shape(self, node: Any) -> list[int]:
        """The shape of an argument."""
        if node.op == "get_attr":
            return list(getattr(self.graph, str(node.target)).shape)
        return list(node.meta["val"].shape)

    def is_mask(self, value: Any) -> bool:
        """Whether an argument holds truth values."""
        return isinstance(value, fx.Node) and "val" in value.meta and value.meta["val"].dtype is torch.bool

    def kind(self, node: Node) -> Any:
        """The type in which numbers beside the arguments of `node` are written."""
        for one in node.args:
            if isinstance(one, fx.Node) and "val" in one.meta and one.meta["val"].dtype in (torch.int64, torch.int32):
                return np.int64
        return np.float32

    def turned_weights(self, node: Node, groups: int) -> Output:
        """A convolution's weight as that of the convolution which takes gradients back through it."""
        name = f"{node.target}/{groups}/turned"
        if name not in self._constants:
            weight = self.array(node)[..., ::-1, ::-1]
            weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).swapaxes(1, 2)
            self._constants[name] = self.constant(weight[0] if groups == 1 else weight)
        return self._constants[name]

    def weights(self, node: Node, groups: int, back: bool = False) -> Output:
        """A convolution's weight, as a constant of its own for each direction.

        They must not share one: OpenVINO 2026.4 keeps packed weights by their address and shape, and takes those of one
        direction for the other's where a convolution has as many channels in as out.
        """
        name = f"{node.target}/{groups}/{back}"
        if name not in self._constants:
            weight = self.array(node)
            if groups > 1:
                weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
            self._constants[name] = self.constant(weight)
        return self._constants[name]
