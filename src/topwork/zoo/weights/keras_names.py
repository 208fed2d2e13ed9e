"""Which tensor of a Keras weight file belongs to which variable of a Keras network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from topwork.zoo.weights import WeightFile
from topwork.zoo.weights.matching import Plan, Taken, Wanted, fitted
from topwork.zoo.weights.stored import Refused


def fill_keras(network: Any, file: WeightFile) -> None:
    """Fill a Keras network, just made, from `.weights.h5` or `.h5`. Raises Refused where it does not fit.

    As Keras does it: the first by each layer's place in the network, the second by the layers' order; but where the file has
    the network's own names of layers, they count and not the order.
    """
    if file.kind != "keras":
        raise Refused(f"its format is {file.kind}, and {network.name} is a Keras network: expected .weights.h5 or .h5")
    plan: Plan
    if file.layers:
        variables, plan = _by_layer(network, file)
    else:
        variables = dict(_by_place(network, ""))
        plan = {name: Taken(name) for name in variables}
    wanted = {name: Wanted(tuple(variable.shape), str(variable.dtype)) for name, variable in variables.items()}
    seeds = {name for name in file.tensors if "seed_generator" in name}  # of layers that draw while training
    for name, values in fitted(file, wanted, network.name, plan, unused=seeds):
        variables[name].assign(values)
    for layer in network.layers:
        if hasattr(layer, "finalize_state"):  # Normalization derives its own numbers from those it was given
            layer.finalize_state()


def _by_place(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(name as `.weights.h5` has it, variable): kinds of layer are counted, `layers/conv2d_3/vars/0`."""
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield from ((f"{path}vars/{number}", variable) for number, variable in enumerate(layer.weights))
        return
    met: dict[str, int] = {}
    for one in inner:
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(one).__name__)).lower()
        number = met[kind] = met.get(kind, -1) + 1
        yield from _by_place(one, f"{path}layers/{kind}{f'_{number}' if number else ''}/")


def _by_layer(network: Any, file: WeightFile) -> tuple[dict[str, Any], Plan]:
    """The network's variables by name, and which of the file's listed tensors each is."""
    layers = {layer.name: layer.trainable_weights + layer.non_trainable_weights for layer in network.layers if layer.weights}
    theirs = dict(file.layers)
    if layers.keys() != theirs.keys():
        if len(layers) != len(theirs):
            raise Refused(f"it does not fit {network.name}: it has {len(theirs)} layers with tensors, expected {len(layers)}")
        theirs = dict(zip(layers, theirs.values(), strict=True))
    variables, plan = {}, {}
    for layer, own in layers.items():
        if len(own) != len(theirs[layer]):
            raise Refused(
                f"it does not fit {network.name}: its layer {layer} has {len(theirs[layer])} tensors, expected {len(own)}"
            )
        for number, (variable, source) in enumerate(zip(own, theirs[layer], strict=True)):
            variables[f"{layer}/{number}"] = variable
            plan[f"{layer}/{number}"] = Taken(source)
    return variables, plan
