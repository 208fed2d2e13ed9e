"""A network of Keras as a torch module like any other: dotted layer names, hooks, a plain state dict.

Keras runs its graph by calling layers in a way that torch's hooks do not see. Here each layer is wrapped in a module that
carries its variables under their own names, and Keras's graph calls the wrappers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class KerasLayer(nn.Module):
    """One layer of Keras, in inference mode. Its variables are this module's parameters."""

    after: Tensor | None

    def __init__(self, layer: Any, after: Tensor | None = None) -> None:
        super().__init__()
        self._held = (layer,)  # in a tuple, for torch would take the layer for a child and count its parameters twice
        self.kind = type(layer).__name__
        # A variable without a name of its own is called variable_17, by a counter of all that were made before.
        self._names = [
            f"weight_{place}" if one.name.startswith("variable") else one.name for place, one in enumerate(layer.weights)
        ]
        for name, variable in zip(self._names, layer.weights, strict=True):
            self.register_parameter(name, variable.value)
        self.register_buffer("after", after, persistent=False)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the layer makes of its inputs; with `after`, times that."""
        (layer,) = self._held
        if self.kind == "BatchNormalization" and layer.axis == 1:
            return self._normalised(inputs[0], layer.epsilon)
        for name, variable in zip(self._names, layer.weights, strict=True):
            # A copy, a move to another device, other parameters for one call: all must reach the layer.
            variable._value = getattr(self, name)
        if hasattr(layer, "finalize_state"):  # a Normalization layer computes constants from its variables
            layer.finalize_state()
        output = layer(*inputs, **named)
        return output if self.after is None else output * self.after

    def _normalised(self, inputs: Tensor, epsilon: float) -> Tensor:
        """Batch normalisation in one step of torch, which engines fold into the convolution; Keras takes four, in place."""
        gamma, beta = getattr(self, "gamma", None), getattr(self, "beta", None)
        mean, variance = self.get_parameter("moving_mean"), self.get_parameter("moving_variance")
        return nn.functional.batch_norm(inputs, mean, variance, gamma, beta, eps=epsilon)


class KerasChain(nn.Module):
    """Layers of a Sequential model, one after the other."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for layer in model.layers:
            self.add_module(layer.name, wrapped(layer))

    def forward(self, inputs: Any, **_: Any) -> Any:
        """What the last layer gives; Keras passes a model more than its layers need."""
        for layer in self.children():
            inputs = layer(inputs)
        return inputs


class KerasNetwork(nn.Module):
    """A classification network of Keras. images (N, 3, H, W), normalised -> logits (N, K).

    trunk: its graph from the images to the input of the classifier; head: from there to the logits.
    """

    def __init__(self, whole: Any, trunk: Any, head: Any, channels_last: bool, after: dict[str, Tensor]) -> None:
        super().__init__()
        self._held = whole, trunk, head
        self.channels_last = channels_last
        for layer in whole.layers:
            if type(layer).__name__ != "InputLayer":
                self.add_module(layer.name, wrapped(layer, after.get(layer.name)))

    @property
    def whole(self) -> Any:
        """The network as Keras knows it; it shares its variables."""
        return self._held[0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of normalised images (N, 3, H, W)."""
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The input of the classifier: (N, D), or (N, D, 1, 1) in the network's own order of axes."""
        inputs = images.permute(0, 2, 3, 1) if self.channels_last else images
        return self._walk(self._held[1], inputs)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, K) of what `features` gave."""
        return self._walk(self._held[2], features)

    def _walk(self, graph: Any, inputs: Tensor) -> Tensor:
        def operation(found: Any) -> Any:
            if isinstance(found, nn.Module):  # a layer, and not a sum in the graph
                return self.get_submodule(str(found.name))
            return found

        with on_device(inputs.device):
            output: Tensor = graph._run_through_graph([inputs], operation_fn=operation)
        return output[0] if isinstance(output, list) else output


def wrapped(layer: Any, after: Tensor | None = None) -> nn.Module:
    """A layer, or a Sequential model of layers, as a torch module."""
    import keras

    return KerasChain(layer) if isinstance(layer, keras.Sequential) else KerasLayer(layer, after)


@contextlib.contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Keras moves every tensor to its own device: that of the images, inside."""
    import keras

    with keras.device(str(device)):
        yield


def even_out(network: KerasNetwork, images: Tensor) -> None:
    """Scale the kernels, layer by layer, so that each layer's outputs have variance 1 (Mishkin and Matas 2016).

    Keras's random kernels halve the signal in every depthwise layer: the features of a MobileNet would be 1e-12.
    """

    hooks: dict[nn.Module, Any] = {}

    def scale(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        hooks.pop(module).remove()
        kernel = getattr(module, "pointwise_kernel", None)
        kernel = module.kernel if kernel is None else kernel
        spread = float(output.std())
        if spread > 0:
            kernel.data /= spread  # type: ignore[operator]
        scaled: Tensor = module(*inputs)
        return scaled

    for module in network.modules():
        if isinstance(module, KerasLayer) and (hasattr(module, "kernel") or hasattr(module, "pointwise_kernel")):
            hooks[module] = module.register_forward_hook(scale)
    with torch.no_grad():
        network(images)
