"""The frozen part on the fast engine: from a cut to the rows that learning is fed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from topwork import runtime
from topwork.errors import InputError, WeightsError
from topwork.features import engines
from topwork.features.choose import COSINE_NEEDED, agreement
from topwork.features.engines import Engine
from topwork.finetune.activations import Activations
from topwork.finetune.augment import Look
from topwork.finetune.cut import Behind, Prefix, blocks_of, check_cut, learnable_blocks
from topwork.finetune.folding import fold
from topwork.finetune.lower import lowered
from topwork.finetune.scratch import Scratch
from topwork.pictures.decode import Geometry, Pixels
from topwork.zoo.backbone import Backbone


@dataclass(frozen=True)
class Frozen:
    """The frozen part before one or more cuts, ready to run."""

    engine: Engine
    prefix: Prefix
    width: int
    """Numbers in a row."""


def cuts_of(backbone: Backbone) -> list[str]:
    """Names of the blocks that learning may begin at, the last first: place K - 1 is where the last K blocks learn."""
    return learnable_blocks(backbone, blocks_of(backbone))[::-1]


def freeze(backbone: Backbone, cuts: Sequence[str], like: Engine, pictures: Sequence[Pixels]) -> Frozen:
    """The part before `cuts` on the kind of engine that runs the whole, its numbers on `pictures` checked against torch.

    In bf16 only where these numbers stand it. Raises WeightsError where they are not torch's.
    """
    prefix = Prefix(backbone, tuple(cuts))
    pixels = np.stack(pictures)
    with torch.inference_mode():
        expected = prefix(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0).numpy()
    for cut in cuts:
        check_cut(backbone, prefix, Behind(backbone, cut, prefix.shapes[cut], _pooled(prefix, cut)))
    for precision in dict.fromkeys((like.precision, "f32") if like.name == "openvino" else (like.precision,)):
        engine = _engine(cast(Any, prefix), like.name, precision)
        found = np.concatenate([engine.infer(one[None]) for one in pixels])
        if found.shape == expected.shape and agreement(found, expected)[0] >= COSINE_NEEDED:
            return Frozen(engine, prefix, expected.shape[1])
    raise WeightsError(f"{backbone.spec.id}: {like.name} does not give torch's numbers. Fit with --engine torch.")


def _engine(prefix: Any, name: str, precision: str) -> Engine:
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        file = Path(folder)
        if name == "openvino":
            engines.convert_openvino(prefix, file / "model.xml")
            return engines.OpenVinoEngine(file / "model.xml", precision)
        if name == "onnxruntime":
            engines.export_onnx(prefix, file / "model.onnx")
            return engines.OnnxRuntimeEngine(file / "model.onnx")
        return engines.TorchEngine(prefix, "cuda" if precision == "f16" else "cpu")


def _pooled(prefix: Prefix, cut: str) -> int:
    return prefix.columns(cut)[0][1]


def behind(backbone: Backbone, frozen: Frozen, cut: str, precision: str = "f32", folds: bool = True) -> Behind:
    """What learns from `cut` on, ready to: all its weights want gradients, its batch normalisation is folded.

    precision: see `topwork.finetune.lower.lowered`. folds: False where statistics are updated, which a fold holds fixed.
    """
    part = Behind(backbone, cut, frozen.prefix.shapes[cut], _pooled(frozen.prefix, cut))
    width = sum(stop - start for start, stop in frozen.prefix.columns(cut))
    part.network.to(memory_format=torch.channels_last)
    if folds:
        fold(part, torch.rand(2, width, generator=torch.Generator().manual_seed(0)))
    ready(part)
    part.low = lowered(precision, [part.network.get_submodule(name) for name in part.names])
    return part


def layout_of(part: Behind) -> tuple[int, int, int, int] | None:
    """(start, height, width, channels) of the maps in a row that `part` is fed, where there are any."""
    if part.cut is None:
        size = part.spec.geometry.size
        return 0, size, size, 3
    if len(part.shape) != 3 or getattr(part.network, "output_fmt", "NCHW") == "NHWC":
        return None
    channels, height, width = part.shape
    return part.pooled, height, width, channels


def whole(backbone: Backbone, cut: str | None = None, folds: bool = True) -> Behind:
    """All of the backbone, fed pixels as bytes; with a `cut` only the blocks from there on learn. folds: see `behind`."""
    part = Behind(backbone, None, (), 0)
    chain = blocks_of(backbone) if cut is not None else []
    part.names = chain[chain.index(cut) :] if cut is not None else []
    part.network.to(memory_format=torch.channels_last)
    size = backbone.spec.geometry.size
    if folds:
        fold(part, torch.randint(0, 256, (2, size * size * 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    ready(part)
    return part


def ready(part: Behind) -> None:
    """Weights want gradients: of the blocks that learn, not of what lies before them or of the network's own classifier."""
    learning = [part.network.get_submodule(name) for name in part.names] or [part.network]
    part.requires_grad_(False)
    for module in learning:
        module.requires_grad_(True)
    if part.classifier is not None:
        part.classifier.requires_grad_(False)


def activations(
    paths: Sequence[Path],
    plain_from: int,
    width: int,
    engine: Engine | None,
    geometry: Geometry,
    look: Look,
    views: int,
    limit: float,
    folder: Path | None = None,
    parts: list[tuple[int, int]] | None = None,
) -> tuple[Activations, str]:
    """A place for rows of pictures, and what to tell of it: fewer views where `limit` (bytes) is too little for all.

    Pictures from `plain_from` on have one view. Raises InputError where not even one view each fits.
    """
    row_bytes = width * (1 if engine is None else 2)
    plain = len(paths) - plain_from
    fitting = int((limit / row_bytes - plain) // max(plain_from, 1))
    if fitting < 1:
        raise InputError(
            f"--scratch {limit / 1e9:g}: expected room for {runtime.in_words(len(paths) * row_bytes)} of activations. "
            "Give more gigabytes, or fewer blocks to --unfreeze."
        )
    given = min(views, fitting)
    scratch = Scratch(
        folder or runtime.cache_folder() / "scratch",
        plain_from * given + plain,
        width,
        "uint8" if engine is None else "float16",
    )
    told = f"scratch: up to {runtime.in_words(scratch.size)} in {scratch.folder}, removed at the end"
    if given < views:
        told += f"; {given} views a picture instead of {views}, to stay below {limit / 1e9:g} GB"
    return Activations(paths, engine, geometry, look, given, plain_from, scratch, parts or [(0, width)]), told
