"""Backbones from timm (Wightman 2019), each with the preprocessing that timm states for its weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from topwork.errors import UnknownName, WeightsError
from topwork.pictures.decode import Geometry
from topwork.zoo.backbone import Backbone, state_sha256
from topwork.zoo.spec import BackboneSpec
from topwork.zoo.weights import WeightFile, open_weights
from topwork.zoo.weights.matching import Taken, Wanted, fitted, plain_names
from topwork.zoo.weights.torchvision_names import torchvision_plan

_STAGES_MOST = 16
"""Of deeper lists of stages only this many, evenly spread, are kept: a row of features stays short."""


def build(name: str, backbone_id: str, weights: str | Path = "pretrained", weights_sha256: str | None = None) -> Backbone:
    """The timm network `name` as a backbone.

    weights: "pretrained" (timm's own, from its hub), "random" (seeded, for tests of speed), or a file that `open_weights`
    reads, also torchvision's of VGG, ResNet and MobileNet; `weights_sha256` is then what its bytes must hash to.
    Raises UnknownName, or WeightsError where the weights cannot be had, trusted or fitted.
    """
    if isinstance(weights, Path):
        with open_weights(weights, weights_sha256) as file:  # before the network is made: a file that is refused costs nothing
            network = _network(name, weights)
            _fit_state(network, name.split(".")[0], file, published=weights_sha256 is not None)
    else:
        network = _network(name, weights)
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    size = config["input_size"][-1]
    stages = _stage_names(network)
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def pool(output: Tensor) -> Tensor:
        if isinstance(output, (tuple, list)):
            output = output[0]
        if output.ndim == 3:  # tokens (n, tokens, channels)
            return output.mean(1)
        return output.mean((1, 2)) if channels_last else output.mean((2, 3))

    def last(images: Tensor) -> Tensor:
        features: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)  # type: ignore[operator]
        return features.flatten(1)

    widths: list[int] = []
    hooks = [
        network.get_submodule(stage).register_forward_hook(lambda _m, _i, out: widths.append(pool(out).shape[1]))
        for stage in stages
    ]
    classifier = network.get_classifier() if getattr(network, "num_classes", 0) else None  # type: ignore[operator]
    with torch.inference_mode():
        example = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        trunk = network.forward_features(example)  # type: ignore[operator]
        features = network.forward_head(trunk, pre_logits=True).flatten(1)  # type: ignore[operator]
        # Some networks end in more than one linear layer: then they count as having no classifier of their own.
        if isinstance(classifier, nn.Linear) and classifier.in_features == features.shape[1]:
            same = torch.allclose(classifier(features), network.forward_head(trunk), atol=1e-4)  # type: ignore[operator]
            classifier = classifier if same else None
        else:
            classifier = None
    for hook in hooks:
        hook.remove()
    widths = widths[: len(stages)]
    spec = BackboneSpec(
        id=backbone_id,
        architecture=f"{config['architecture']}.{config['tag']}" if config.get("tag") else str(config["architecture"]),
        library="timm",
        geometry=Geometry(
            size=size,
            crop=float(config.get("crop_pct") or 1.0),
            interpolation="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
            mode="squash" if config.get("crop_mode") == "squash" else "center",
        ),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        stages=tuple(zip(stages, widths, strict=True)),
        dim=features.shape[1],
        answers=classifier.out_features if isinstance(classifier, nn.Linear) else 0,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        licence=str(config.get("license") or "not stated"),
        weights=f"file {weights.name}" if isinstance(weights, Path) else f"{weights} ({config.get('hf_hub_id') or 'timm'})",
        weights_sha256=state_sha256(network.state_dict()),
    )
    return Backbone(network, spec, pool, last, classifier)


def _network(name: str, weights: str | Path) -> nn.Module:
    if not timm.is_model(name.split(".")[0]):
        raise UnknownName("timm network", name, timm.list_models())
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            network: nn.Module = timm.create_model(name, pretrained=weights == "pretrained")
        except UnknownName:
            raise
        except Exception as error:
            if weights != "pretrained":
                raise
            raise WeightsError(
                f"timm:{name}: its pretrained weights are not on this machine and could not be fetched "
                f"({type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else 'no reason given'}). "
                "Connect once, or give a file: --weights FILE.safetensors"
            ) from error
    return network.eval()


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
