"""A network cut at a block boundary: the part before runs once per picture, the part behind learns.

A network can be cut where it is a plain chain: each block's input is the output of the block before, up to the features.
Whether it is one is seen by watching a picture pass, and what the two parts give together is checked against the whole.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from topwork.errors import InputError
from topwork.zoo.backbone import Backbone
from topwork.zoo.spec import BackboneSpec


def blocks_of(backbone: Backbone) -> list[str]:
    """Names of the blocks that a network may be cut before, in order; they run one after the other up to the features.

    Empty where the network is no chain: then all of it learns, or only the head.
    """
    network = backbone.network
    if not hasattr(network, "forward_head"):
        return []
    names = list(_units(network))
    passed: list[tuple[str, Tensor, Tensor]] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                passed.append((name, inputs[0], output))

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(note(name)) for name in names]
    size = backbone.spec.geometry.size
    try:
        with torch.inference_mode():
            end = network.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]
    finally:
        for one in hooks:
            one.remove()
    chain: list[str] = []
    expected = end
    for name, given, output in reversed(passed):
        if output is not expected or name in chain:
            break
        chain.insert(0, name)
        expected = given
    stages = [name for name, _ in backbone.spec.stages]
    return chain if all(_owner(stage, names) is not None for stage in stages) else []


def _units(network: nn.Module) -> list[str]:
    """Dotted names of the network's children; of a row of blocks, of the blocks."""
    found: list[str] = []

    def add(name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Sequential) and len(module):
            for child, inner in module.named_children():
                add(f"{name}.{child}", inner)
        else:
            found.append(name)

    for name, module in network.named_children():
        add(name, module)
    return found


def _owner(stage: str, units: list[str]) -> str | None:
    """The unit whose output is the stage's: itself, or the last one inside it."""
    inside = [unit for unit in units if unit == stage or unit.startswith(f"{stage}.")]
    return inside[-1] if inside else None


def learnable_blocks(backbone: Backbone, chain: list[str]) -> list[str]:
    """Of a chain, the parts that count as blocks: those with weights, lone layers only where there is nothing else."""
    modules = {name: backbone.network.get_submodule(name) for name in chain}
    weighty = [name for name, module in modules.items() if any(True for _ in module.parameters())]
    whole = [name for name in weighty if sum(1 for _ in modules[name].modules()) > 3]
    return whole or weighty


class _Reached(Exception):
    pass


class Prefix(nn.Module):
    """The part of a backbone before the blocks `cuts`. images -> (N, row): pooled stages, then what enters each cut.

    What enters is laid out with channels last, where it has four axes. With no `cuts` the row is the whole features.
    """

    def __init__(self, backbone: Backbone, cuts: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone, self.cuts = backbone, cuts
        self.spec = backbone.spec
        self.shapes: dict[str, tuple[int, ...]] = {}
        units = _units(backbone.network)
        self.places = {cut: units.index(cut) for cut in cuts}
        first_missing = max(self.places.values()) if cuts else len(units)
        owners = {stage: _owner(stage, units) for stage, _ in self.spec.stages}
        self.stages = [stage for stage, owner in owners.items() if owner is not None and units.index(owner) < first_missing]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Rows (N, row) of images (N, 3, H, W) in [0, 1]."""
        network = self.backbone.network
        pooled: list[Tensor] = []
        entered: dict[str, Tensor] = {}
        last = max(self.cuts, key=self.places.__getitem__)

        def pool(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            pooled.append(self.backbone._pool(output))

        def enter(cut: str) -> Any:
            def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                entered[cut] = inputs[0]
                if cut == last and not torch._C._get_tracing_state():
                    raise _Reached

            return hook

        hooks = [network.get_submodule(stage).register_forward_hook(pool) for stage in self.stages]
        hooks += [network.get_submodule(cut).register_forward_pre_hook(enter(cut)) for cut in self.cuts]
        try:
            network.forward_features((images - self.backbone.mean) / self.backbone.std)  # type: ignore[operator]
        except _Reached:
            pass
        finally:
            for one in hooks:
                one.remove()
        rows = []
        for cut in self.cuts:
            inside = entered[cut]
            self.shapes[cut] = tuple(int(side) for side in inside.shape[1:])
            rows.append((inside.permute(0, 2, 3, 1) if inside.ndim == 4 else inside).flatten(1))
        return torch.cat([*[one.flatten(1) for one in pooled], *rows], dim=1)

    def columns(self, cut: str) -> list[tuple[int, int]]:
        """(start, stop) of the parts of a row that the learning part behind `cut` is fed: pooled stages, what enters."""
        widths = dict(self.spec.stages)
        units = _units(self.backbone.network)
        before = [s for s in self.stages if units.index(_owner(s, units) or s) < self.places[cut]]
        pooled = sum(widths[stage] for stage in before)
        start = sum(widths[stage] for stage in self.stages)
        for one in self.cuts:
            size = 1
            for side in self.shapes[one]:
                size *= side
            if one == cut:
                return [(0, pooled), (start, start + size)]
            start += size
        raise KeyError(cut)


class Behind(nn.Module):
    """The part of a backbone from block `cut` on. rows (N, row) of its prefix -> features (N, D), as the whole gives them.

    With cut None it is the whole backbone, fed images as bytes (N, H, W, 3) laid flat.
    """

    mean: Tensor
    std: Tensor
    low: bool
    """Whether steps are computed in bf16."""

    def __init__(self, backbone: Backbone, cut: str | None, shape: tuple[int, ...], pooled: int) -> None:
        super().__init__()
        self.spec: BackboneSpec = backbone.spec
        self.shape, self.pooled, self.cut = shape, pooled, cut
        self.low = False
        own = copy.deepcopy(backbone.network)
        self._pool, self._classes = backbone._pool, backbone.spec.answers > 0
        self.register_buffer("mean", backbone.mean.clone(), persistent=False)
        self.register_buffer("std", backbone.std.clone(), persistent=False)
        units = _units(own)
        chain = blocks_of(backbone)
        self.names = [name for name in chain if units.index(name) >= units.index(cut)] if cut else []
        self.network = own
        self.stages: dict[str, str] = {}
        for stage, _ in self.spec.stages:
            owner = _owner(stage, units)
            if owner in self.names or cut is None:
                self.stages[owner or stage] = stage
        classifier = own.get_classifier() if self._classes else None  # type: ignore[operator]
        # A network that was distilled has two.
        self.classifier: nn.Module | None = nn.ModuleList(classifier) if isinstance(classifier, tuple) else classifier

    def forward(self, rows: Tensor) -> Tensor:
        """Features (N, D) of rows (N, row)."""
        kept: list[Tensor] = [rows[:, : self.pooled].float()] if self.pooled else []
        inside = rows[:, self.pooled :].float()
        if self.cut is None:
            side = self.spec.geometry.size
            images = inside.view(-1, side, side, 3).permute(0, 3, 1, 2) / 255.0
            inside = (images - self.mean) / self.std
            return self._whole(inside)
        if len(self.shape) == 3:
            channels, height, width = self.shape
            inside = inside.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        else:
            inside = inside.reshape(-1, *self.shape)
        # Answers are given in float32: only steps are rounded.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low and torch.is_grad_enabled()):
            for name in self.names:
                inside = self.network.get_submodule(name)(inside)
                if name in self.stages:
                    kept.append(self._pool(inside.float()))
        return self._row(kept, inside.float())

    def _whole(self, images: Tensor) -> Tensor:
        kept: list[Tensor] = []
        hooks = [
            self.network.get_submodule(stage).register_forward_hook(lambda _m, _i, output: kept.append(self._pool(output)))
            for stage in self.stages.values()
        ]
        try:
            trunk = self.network.forward_features(images)  # type: ignore[operator]
        finally:
            for one in hooks:
                one.remove()
        return self._row(kept, trunk)

    def _row(self, kept: list[Tensor], trunk: Tensor) -> Tensor:
        last = self.network.forward_head(trunk, pre_logits=True).flatten(1)  # type: ignore[operator]
        if self.classifier is not None:
            plain = isinstance(self.classifier, nn.Linear)
            answers = self.classifier(last) if plain else self.network.forward_head(trunk)  # type: ignore[operator]
            return torch.cat([*kept, last, answers.softmax(1)], dim=1)
        return torch.cat([*kept, last], dim=1)


def check_cut(backbone: Backbone, prefix: Prefix, behind: Behind) -> None:
    """Raise InputError unless the two parts together give what the whole gives."""
    size = backbone.spec.geometry.size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        rows = prefix(images)
        assert behind.cut is not None  # noqa: S101 - the whole needs no check
        parts = [rows[:, start:stop] for start, stop in prefix.columns(behind.cut)]
        found, whole = behind(torch.cat(parts, 1)), backbone(images)
    if found.shape != whole.shape or not torch.allclose(found, whole, atol=1e-4, rtol=1e-3):
        raise InputError(f"{backbone.spec.id}: cannot be cut before {behind.cut}. Use --unfreeze head or --unfreeze all.")
