"""Backbones from timm (Wightman 2019), each with the preprocessing that timm states for its weights."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.imagenet_info import infer_imagenet_subset
from torch import Tensor, nn

from topwork.errors import InputError, TopworkError, WeightsError
from topwork.pictures.decode import Geometry
from topwork.zoo import hub
from topwork.zoo.backbone import Backbone, Run, multiply_adds, state_sha256
from topwork.zoo.catalogue import Network
from topwork.zoo.names import Told, unknown, weights_folder
from topwork.zoo.spec import ANSWERS_MOST, BackboneSpec
from topwork.zoo.weights import WeightFile, open_weights
from topwork.zoo.weights.matching import Taken, Wanted, fitted, plain_names
from topwork.zoo.weights.stored import Refused
from topwork.zoo.weights.torchvision_names import torchvision_plan

_STAGES_MOST = 16
"""Of deeper lists of stages only this many, evenly spread, are kept: a row of features stays short."""


def build(
    name: str,
    backbone_id: str,
    weights: str | Path = "pretrained",
    weights_sha256: str | None = None,
    size: int | None = None,
) -> Backbone:
    """The timm network `name` as a backbone.

    weights: "pretrained" (timm's own, from its hub), "random" (seeded, for tests of speed), or a file that `open_weights`
    reads, also torchvision's of VGG, ResNet and MobileNet; `weights_sha256` is then what its bytes must hash to. size: the side
    of the pictures, for a network that takes other sizes than its own.
    Raises UnknownName, InputError, or WeightsError where the weights cannot be had, trusted or fitted.
    """
    network = _loaded(name, weights, weights_sha256, size)
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    geometry = _geometry(backbone_id, config, size)
    example = torch.rand(1, 3, geometry.size, geometry.size, generator=torch.Generator().manual_seed(0))
    pool, run = _pool(network), _run(network, backbone_id, example)
    stages, last, logits, count = _measured(network, pool, run, example)
    label_set = infer_imagenet_subset(network) or ""
    classes = logits.shape[1] if logits is not None and label_set else 0  # others are no classes: CLIP ends in its text space
    spec = BackboneSpec(
        id=backbone_id,
        architecture=f"{config['architecture']}.{config['tag']}" if config.get("tag") else str(config["architecture"]),
        library="timm",
        geometry=geometry,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        stages=stages,
        dim=last.shape[1],
        answers=classes if classes <= ANSWERS_MOST else 0,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        licence=str(config.get("license") or "not stated"),
        weights=f"file {weights.name}" if isinstance(weights, Path) else f"{weights} ({config.get('hf_hub_id') or 'timm'})",
        weights_sha256=state_sha256(network.state_dict()),
        multiply_adds=count,
        classes=classes,
        label_set=label_set,
    )
    return Backbone(network, spec, pool, run)


def networks() -> list[Network]:
    """Every network of timm with each set of its pretrained weights."""
    found = []
    for name in timm.list_pretrained():
        config: Any = timm.get_pretrained_cfg(name)
        family = timm.model_entrypoint(name.partition(".")[0]).__module__.rpartition(".")[2]
        licence = str(config.license or "not stated")
        named = infer_imagenet_subset({"num_classes": config.num_classes}) is not None
        classes = config.num_classes if named else 0
        found.append(Network(f"timm:{name}", family, config.input_size[-1], licence, classes))
    return found


def on_disk(name: str) -> Path | None:
    """The file of the pretrained weights where it is on this machine: put there by hand, or in the hub's own cache."""
    config = _config(name)
    placed = _place(config)
    if placed.is_file():
        return placed
    return hub.cached_file(config.hf_hub_id) if config.hf_hub_id else None


def fetch(name: str, told: Told | None = None) -> Path:
    """The file of the pretrained weights: safetensors from timm's hub, in the hub's own cache. Raises WeightsError."""
    found = on_disk(name)
    if found is not None:
        return found
    config = _config(name)
    shown = f"timm:{config.architecture}.{config.tag}" if config.tag else f"timm:{config.architecture}"
    if not config.hf_hub_id:
        where = f"only as a pickle, at {config.url}, which is not fetched" if config.url else "nowhere"
        raise WeightsError(
            f"{shown}: expected weights as safetensors in timm's hub; they are kept {where}. Use --weights FILE."
        )
    return hub.fetched_file(config.hf_hub_id, shown, _place(config))


def _config(name: str) -> Any:
    """timm's description of a network with one set of weights. Raises UnknownName, or InputError for weights nobody knows."""
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture) or (dot and not tag):
        raise unknown(f"timm:{name}")
    try:
        config: Any = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = ", ".join(one.partition(".")[2] for one in timm.list_pretrained(architecture))
        raise InputError(f"timm:{name}: {architecture} has no weights {tag}. Expected one of: {known}.") from error
    return config or timm.models.PretrainedCfg(architecture=architecture)


def _place(config: Any) -> Path:
    """Where a person may put the file of the pretrained weights."""
    return weights_folder("timm") / f"{config.architecture}.{config.tag or 'default'}.safetensors"


def _loaded(name: str, weights: str | Path, sha256: str | None, size: int | None) -> nn.Module:
    """timm's network with its weights, made for pictures of `size`."""
    _config(name)
    if weights == "pretrained":
        network = _pretrained(name, fetch(name))
    elif isinstance(weights, Path):
        with open_weights(weights, sha256) as file:  # before the network is made: a file that is refused costs nothing
            network = _network(name)
            try:
                _fit_state(network, name.partition(".")[0], file, published=sha256 is not None)
            except Refused:
                if size is None:
                    raise
                resized = _network(name, img_size=size)  # saved from a network that was already made for this size
                with contextlib.suppress(Refused):
                    _fit_state(resized, name.partition(".")[0], file, published=False)
                    return resized
                raise
    else:
        network = _network(name)
    if size is not None:
        network.set_input_size((size, size))  # type: ignore[operator]
    return network


def _pretrained(name: str, hub_file: Path) -> nn.Module:
    """The network with what timm's hub holds for it. Some files there have older names, which timm itself fits."""
    with open_weights(hub_file) as file:
        network = _network(name)
        if file.tensors.keys() == network.state_dict().keys():
            _fit_state(network, name.partition(".")[0], file, published=False)
            return network
    network = _network(name, hub_file)
    faults = [key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if faults:
        raise WeightsError(f"{hub_file}: has values that are not finite: {', '.join(faults[:4])}.")
    return network


def _network(name: str, file: Path | None = None, **settings: Any) -> nn.Module:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        if file is not None:
            # timm fits what its hub holds to its network: some files have older names. A safetensors file runs nothing.
            settings["pretrained_cfg_overlay"] = {"file": str(file), "custom_load": False}
        try:
            network: nn.Module = timm.create_model(name, pretrained=file is not None, **settings)
        except TopworkError:
            raise
        except Exception as error:
            if file is None:
                raise
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise WeightsError(f"{file}: does not fit timm:{name}: {reason}.") from error
    return network.eval().requires_grad_(False)


def _geometry(backbone_id: str, config: dict[str, Any], size: int | None) -> Geometry:
    channels, height, width = config["input_size"]
    mode: Any = config.get("crop_mode") or "center"
    if channels != 3 or height != width or mode not in ("center", "squash"):
        raise InputError(
            f"{backbone_id}: expected a network for square colour pictures, found {width} x {height} with {channels} channels, "
            f"cropped by {mode!r}. Choose another: topwork zoo list"
        )
    side = size or width
    # timm resizes the shorter side to whole pixels, rounded down, and cuts the square out of that.
    return Geometry(
        size=side,
        crop=side / int(side / float(config.get("crop_pct") or 0.875)),
        interpolation="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
        mode=mode,
    )


def _pool(network: nn.Module) -> Callable[[Any], Tensor]:
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def pool(output: Any) -> Tensor:
        """The output of a stage as (n, channels)."""
        while isinstance(output, (tuple, list)):
            output = output[0]
        tensor: Tensor = output
        if tensor.ndim == 3:  # tokens (n, tokens, channels)
            return tensor.mean(1)
        return tensor.mean((1, 2)) if channels_last else tensor.mean((2, 3))

    return pool


def _run(network: Any, backbone_id: str, example: Tensor) -> Run:
    """From normalised images to the last features and the logits, each part of the network run once where that is possible."""
    with torch.no_grad():
        try:
            trunk = network.forward_features(example)
            features = network.forward_head(trunk, pre_logits=True).flatten(1)
            logits = network.forward_head(trunk) if getattr(network, "num_classes", 0) else None
        except (NotImplementedError, AttributeError, TypeError, KeyError) as error:
            raise InputError(f"{backbone_id}: this network does not classify pictures. Choose: topwork zoo list") from error
        classify = None if logits is None else _classify(network, features, logits)
    has_logits = logits is not None

    def run(network: Any, images: Tensor) -> tuple[Tensor, Tensor | None]:
        trunk = network.forward_features(images)
        features: Tensor = network.forward_head(trunk, pre_logits=True).flatten(1)
        if not has_logits:
            return features, None
        return features, network.forward_head(trunk) if classify is None else classify(network, features)

    return run


def _classify(network: Any, features: Tensor, logits: Tensor) -> Callable[[Any, Tensor], Tensor] | None:
    """What brings the last features to the logits, tried out; None where only the whole head does."""
    for way in (_flat, _as_picture):
        with contextlib.suppress(RuntimeError, TypeError, ValueError, NotImplementedError):
            answers = way(network, features)
            if answers.shape == logits.shape and (answers.is_meta or torch.allclose(answers, logits, rtol=1e-4, atol=1e-4)):
                return way
    return None


def _flat(network: Any, features: Tensor) -> Tensor:
    answers: Tensor = network.get_classifier()(features)
    return answers


def _as_picture(network: Any, features: Tensor) -> Tensor:
    answers: Tensor = network.get_classifier()(features[:, :, None, None]).flatten(1)
    return answers


def _measured(
    network: nn.Module, pool: Callable[[Any], Tensor], run: Run, example: Tensor
) -> tuple[tuple[tuple[str, int], ...], Tensor, Tensor | None, int]:
    """The stages with their widths, the last features, the logits and the multiply-adds of one picture."""
    names = _stage_names(network)
    widths: dict[str, list[int]] = {name: [] for name in names}

    def watch(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: widths[name].append(pool(output).shape[1])

    hooks = [network.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    try:
        with torch.no_grad():
            (last, logits), count = multiply_adds(lambda images: run(network, images), example)
    finally:
        for hook in hooks:
            hook.remove()
    stages = tuple((name, seen[0]) for name, seen in widths.items() if len(seen) == 1)
    return stages, last, logits, count


def _fit_state(network: nn.Module, architecture: str, file: WeightFile, published: bool) -> None:
    """Fill `network` from a weight file; the network decides names, shapes and types, the file decides nothing.

    published: the file's hash is the one in the catalogue; then the same tensors in the same order may have older names.
    """
    state = network.state_dict()
    wanted = {name: Wanted(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()}
    names = plain_names(file.tensors, wanted)
    epsilon = next((module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)), 0.0)
    plan = torchvision_plan(architecture, wanted, names, epsilon)
    if plan is None and published and names.keys() != wanted.keys() and len(names) == len(wanted):
        plan = {name: Taken(source) for name, source in zip(wanted, file.tensors, strict=True)}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # files of before 2018 are without
    for name, values in fitted(file, wanted, f"{architecture} ({type(network).__name__})", plan, optional=counters):
        state[name].copy_(torch.from_numpy(values))


def _stage_names(network: nn.Module) -> list[str]:
    """Dotted names of the network's stages, in order of depth."""
    blocks = getattr(network, "blocks", None)
    if isinstance(blocks, nn.Sequential) and all(isinstance(child, nn.Sequential) for child in blocks):
        names = [f"blocks.{place}" for place in range(len(blocks))]
    else:
        names = [info["module"] for info in getattr(network, "feature_info", [])]
    names = [name for name in dict.fromkeys(names) if _has(network, name)]
    if len(names) > _STAGES_MOST:
        step = len(names) / _STAGES_MOST
        names = [names[int((place + 1) * step) - 1] for place in range(_STAGES_MOST)]
    return names


def _has(network: nn.Module, name: str) -> bool:
    try:
        network.get_submodule(name)
    except AttributeError:
        return False
    return True
