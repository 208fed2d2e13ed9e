"""The graphs of a sight, traced from torch: what stages see and why a network answers, as plain operations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topwork.errors import InputError
from topwork.features.engines import usable
from topwork.frozen.gradient import frozen_gradient, written
from topwork.frozen.making import NoRule, check_same
from topwork.frozen.rules import openvino_model
from topwork.frozen.tracing import forward_graph, plain_graph
from topwork.grafted import Grafted, VotingHead
from topwork.look.attribution import answering_layer, slopes_of, weighed
from topwork.look.maps import as_maps, first_filters, run, stage_layers, watched
from topwork.look.sight import Maps, asked_by, slopes_by
from topwork.zoo.backbone import Backbone

FILTERS = 7
"""Of the first layer, so many are kept to be shown."""

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Traced:
    """A graph, and what is told with it."""

    told: dict[str, Any]
    """As JSON types; `answers` names what the graph gives, in its order."""
    asks: Any
    """What asks it: the graph, or torch where there is none."""
    model: Any
    """The graph, of OpenVINO; None where an operation has no rule, or where its numbers are not torch's."""


def traced_stages(backbone: Backbone) -> Traced:
    """An image (1, 3, H, W) -> the maps (1, C, h, w) of each stage."""
    image, _ = _noise(backbone)
    try:
        names = stage_layers(backbone, image)
    except InputError:
        names = []
    filters = [one.tolist() for one in first_filters(backbone, FILTERS)]
    told = {"spec": backbone.spec.to_config(), "answers": names, "filters": filters}

    def seen(image: Tensor) -> tuple[Tensor, ...]:
        with watched(backbone, names) as outputs:
            run(backbone, image)
        maps = [as_maps(backbone, outputs[name][0]) for name in names]
        return tuple(one for one in maps if one is not None)

    return _traced(told, seen, lambda through: through, image) if names else Traced(told, lambda image: {}, None)


def traced_reasons(network: Grafted) -> Traced:
    """An image (1, 3, H, W), a second look where the head wants one, and linear (1, K) -> the logits (1, K), and for the answer
    sum(linear * logits) Grad-CAM's coarse map (1, 1, h, w) of each look.

    The logits alone where no layer with maps decides the answer.
    """
    image, generator = _noise(network.backbone)
    linear = torch.randn(1, len(network.classes), generator=generator)
    layers = []
    with contextlib.suppress(InputError):
        layers = [answering_layer(network, image, linear[0])]
    looks = [image, image.flip(3)] if network.mirrored else [image]
    told = {
        "spec": network.spec.to_config(),
        "answers": ["logits", *(["first", "second"][: len(looks)] if layers else [])],
        "classes": list(network.classes),
        "mirrored": network.mirrored,
        "layer": layers[0] if layers else None,
    }

    def answered(*looks: Tensor) -> tuple[Tensor, ...]:
        with watched(network.backbone, layers) as outputs:
            logits = network(*looks)
        return (logits, *(one for layer in layers for one in outputs[layer]))

    def explained(through: Function) -> Function:
        def reasons(*given: Tensor) -> tuple[Tensor, ...]:
            *looks, linear = given
            with torch.enable_grad():
                logits, *layers = through(*(one.detach().requires_grad_(True) for one in looks))
                answer = (logits * linear).sum()
            coarse = [weighed(network, one, answer) for one in layers]
            return (logits.detach(), *(one for one in coarse if one is not None))

        return reasons

    return _traced(told, answered, explained, *looks, linear)


def traced_slopes(network: Grafted, level: bool = False) -> Traced:
    """An image (1, 3, H, W), linear (1, K) and entropy (1, 1) -> logits and gradient, as `topwork.frozen.gradient` has them.

    level: see `topwork.grafted.VotingHead`.
    """
    if isinstance(network.head, VotingHead):
        network.head.level = level
    size = network.spec.geometry.size
    told: dict[str, Any] = {"spec": network.spec.to_config()}
    if usable("openvino"):
        with contextlib.suppress(NoRule):
            model = written(network, size)
            return Traced(told, slopes_by(model, told), model)
    return Traced(told, slopes_of(frozen_gradient(network, size, engine="torch")), None)


def _noise(backbone: Backbone) -> tuple[Tensor, torch.Generator]:
    """(an image that the backbone may see, what drew it)."""
    size, generator = backbone.spec.geometry.size, torch.Generator().manual_seed(0)
    return torch.rand(1, 3, size, size, generator=generator), generator


def _traced(told: dict[str, Any], through: Function, said: Callable[[Function], Function], *examples: Tensor) -> Traced:
    """`through` flattened and then `said` of it, traced with examples; the first ones, as many as it takes, are `through`'s."""

    def by_torch(*given: Maps) -> dict[str, Maps]:
        with torch.no_grad():
            found = said(through)(*(torch.from_numpy(one.copy()) for one in given))
        return {name: one.numpy() for name, one in zip(told["answers"], found, strict=True)}

    if not usable("openvino"):
        return Traced(told, by_torch, None)
    looks = [one for one in examples if one.ndim == 4]
    try:
        model = openvino_model(plain_graph(said(forward_graph(through, *looks)), *examples))
        given = [one.numpy() for one in examples]
        ask = asked_by(model, told)
        found, wanted = ask(*given), by_torch(*given)
        for name in told["answers"]:
            check_same(name, torch.from_numpy(found[name]), torch.from_numpy(wanted[name]))
    except NoRule:
        return Traced(told, by_torch, None)
    return Traced(told, ask, model)
