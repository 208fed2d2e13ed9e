"""From a picture's file to a figure: what layers see in it, and which of its pixels made the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from topwork.bundle import is_bundle
from topwork.classifier import Classifier
from topwork.errors import InputError
from topwork.features.extract import second_look
from topwork.grafted import Grafted, VotingHead, backbone_of
from topwork.look.attribution import Attribution, explain, faithfulness
from topwork.look.judges import open_network
from topwork.look.maps import first_filters, layer_maps, layers, main_directions, stage_layers, strongest
from topwork.look.naming import class_named
from topwork.look.sheets import FAINT, captioned, heading, new_figure, percent, save_figure, show
from topwork.pictures.decode import Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone

CHANNELS_OF_ONE, CHANNELS_OF_EACH = 23, 7
"""Channels that are shown of one layer, and of each stage."""


@dataclass(frozen=True)
class Seen:
    """A picture as a network sees it."""

    pixels: Pixels
    """(size, size, 3)."""
    image: Tensor
    """(1, 3, size, size) in [0, 1]."""
    second: Tensor
    """The second look that some heads want, of the same shape."""


def open_backbone(source: str, weights: str = "pretrained") -> Backbone:
    """The backbone of a bundle (its path) or by its name. Raises BundleError, UnknownName or WeightsError."""
    if is_bundle(Path(source)) or source.endswith(".topwork"):
        return backbone_of(Classifier.load(source))
    return load_backbone(source, weights)


def see(backbone: Backbone, picture: str) -> Seen:
    """A picture's file as the network sees it. Raises InputError with the reason where it cannot be used."""
    geometry = backbone.spec.geometry
    try:
        image = decode(read_bytes(Path(picture)), picture, geometry).image
    except BadPicture as error:
        raise InputError(f"{picture}: {error.reason.value}: {error.detail}. Expected a picture that can be read.") from error
    looks = to_pixels(image, geometry), second_look(image, geometry)
    first, second = (torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255 for one in looks)
    return Seen(looks[0], first, second)


def check_png(out: Path, picture: str = "") -> None:
    """Raise InputError unless a PNG may be written at `out`, which is not the picture itself."""
    if out.suffix.lower() != ".png" or out.is_dir():
        raise InputError(f"{out}: expected the name of a file ending in .png.")
    if picture and out.exists() and out.samefile(picture):
        raise InputError(f"{out}: is the picture itself, and would be lost. Give another name.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.absolute().parent} does not exist. Make it first.")


def listed_layers(source: str, weights: str) -> list[dict[str, Any]]:
    """Each layer's name, kind and output shape, as JSON types."""
    return [{"layer": one.name, "kind": one.kind, "shape": list(one.shape)} for one in layers(open_backbone(source, weights))]


def look(
    source: str, picture: str, out: Path, layer: str = "all", pca: bool = False, weights: str = "pretrained"
) -> dict[str, Any]:
    """Draw what a layer, or with "all" each stage, sees in a picture; tells the layers and the channels shown.

    pca: the three main directions of each layer as colours, instead of its strongest channels. Raises TopworkError.
    """
    check_png(out, picture)
    backbone = open_backbone(source, weights)
    seen = see(backbone, picture)
    names = stage_layers(backbone, seen.image) if layer == "all" else [layer]
    maps = layer_maps(backbone, seen.image, names)
    name = Path(source).name
    shown: dict[str, list[int]] = {}
    pictures: list[Any] = []
    captions: list[tuple[str, str]] = []
    if pca:
        pictures, captions = [seen.pixels], [("the picture", f"{seen.pixels.shape[1]} x {seen.pixels.shape[0]}")]
        for one in names:
            height, width = maps[one].shape[1:]
            pictures.append(_enlarged(main_directions(maps[one])))
            captions.append((one, f"{len(maps[one])} channels, {width} x {height}"))
        figure = captioned(pictures, captions, f"Three main directions of what {name} sees, as colours")
    elif layer != "all":
        shown[layer] = strongest(maps[layer], CHANNELS_OF_ONE)
        channels, height, width = maps[layer].shape
        pictures = [seen.pixels, *(coloured(maps[layer][channel]) for channel in shown[layer])]
        captions = [("the picture", ""), *(("", f"channel {channel}") for channel in shown[layer])]
        title = f"{layer} of {name}: its strongest channels ({channels} of {width} x {height})"
        figure = captioned(pictures, captions, title, columns=6, side=1.5)
    else:
        columns = CHANNELS_OF_EACH + 1
        filters = first_filters(backbone, CHANNELS_OF_EACH)
        pictures = [seen.pixels, *filters]
        captions = [("the picture", ""), *(("first filters" if not place else "", "") for place in range(len(filters)))]
        pictures += [np.full((8, 8, 3), 255, np.uint8)] * (columns - len(pictures))
        captions += [("", "")] * (columns - len(captions))
        for one in names:
            shown[one] = strongest(maps[one], CHANNELS_OF_EACH)
            channels, height, width = maps[one].shape
            pictures += [_enlarged(main_directions(maps[one])), *(coloured(maps[one][channel]) for channel in shown[one])]
            captions += [(one, f"{channels} of {width} x {height}"), *(("", f"channel {channel}") for channel in shown[one])]
        note = "left: the three main directions of the stage as colours; right of it: its strongest channels"
        figure = captioned(pictures, captions, f"What the stages of {name} see", columns=columns, side=1.2, note=note)
    save_figure(figure, out)
    told = [{"layer": one, "shape": list(maps[one].shape), "channels": shown.get(one, [])} for one in names]
    return {"network": source, "picture": picture, "out": str(out), "layers": told}


def explained(
    source: str,
    picture: str,
    out: Path,
    method: str = "gradcam",
    wanted: str | None = None,
    against: str | None = None,
    layer: str | None = None,
    check: bool = False,
    weights: str = "pretrained",
) -> dict[str, Any]:
    """Draw which pixels made the answer, for the predicted class or `wanted`, or for it rather than `against`.

    check: also tell whether taking the most telling pixels away, or showing them first, moves the answer more than pixels
    drawn at random do. Raises TopworkError.
    """
    check_png(out, picture)
    network = open_network(source, weights)
    seen = see(network.backbone, picture)
    with torch.inference_mode():
        probs = network.probs(seen.image, seen.second)[0]
    target = int(probs.argmax()) if wanted is None else class_named(wanted, network.classes)
    linear = torch.zeros(len(network.classes))
    linear[target] = 1
    other = None
    if against is not None:
        other = class_named(against, network.classes)
        if other == target:
            raise InputError(f"--against {against}: this is the class itself. Name another one.")
        linear[other] = -1
    if method == "ig" and isinstance(network.head, VotingHead):  # the nearest alone change at once: nothing to integrate
        network = open_network(source, weights, every_vote=True)
        assert isinstance(network.head, VotingHead)  # noqa: S101
        network.head.level = True
    found = explain(network, seen.image, linear, method, layer=layer)
    name = network.classes[target]
    document: dict[str, Any] = {
        "network": source,
        "picture": picture,
        "out": str(out),
        "method": method,
        "class": name,
        "probability": float(probs[target]),
        "against": None if other is None else network.classes[other],
        "answer": network.classes[int(probs.argmax())],
        "none_of_these": Classifier.load(source).predict([picture])[0].none_of_these if is_bundle(Path(source)) else None,
        "layer": found.layer,
        "completeness_error": found.error,
    }
    if check:
        document |= _checked(network, seen.image, found, target)
    save_figure(_overlay(seen, found, document), out)
    return document


def coloured(plane: Any) -> Pixels:
    """A map (h, w) as colours (h, w, 3), dark where it is least, light where it is largest."""
    from matplotlib import colormaps

    low, high = float(plane.min()), float(plane.max())
    scaled = (plane - low) / max(high - low, 1e-9)
    return np.asarray(255 * colormaps["magma"](scaled)[..., :3], np.uint8)


def _enlarged(pixels: Pixels) -> Pixels:
    """At least 64 pixels a side, each a square still."""
    times = -(-64 // min(pixels.shape[:2]))
    return np.repeat(np.repeat(pixels, times, 0), times, 1)


def _checked(network: Grafted, image: Tensor, found: Attribution, target: int) -> dict[str, float]:
    def probability(images: Tensor) -> Any:
        with torch.inference_mode():
            return np.concatenate([network.probs(part)[:, target].numpy() for part in torch.split(images, 8)])

    deletion, insertion = faithfulness(probability, image, found.values)
    drawn = np.random.default_rng(0).permutation(found.values.size).reshape(found.values.shape).astype(np.float32)
    random_deletion, random_insertion = faithfulness(probability, image, drawn)
    return {
        "deletion": deletion,
        "deletion_random": random_deletion,
        "insertion": insertion,
        "insertion_random": random_insertion,
    }


def _overlay(seen: Seen, found: Attribution, document: dict[str, Any]) -> Any:
    """The picture, and the map over a paler copy of it with its scale."""
    against = document["against"]
    title = f"Why {document['class']} ({percent(document['probability'])})" + (f" rather than {against}" if against else "")
    wide, height, side = 8.0, 4.4, 3.45
    figure = new_figure(wide, height)
    heading(figure, title, height)
    boxes = [(left / wide, 0.4 / height, side / wide, side / height) for left in (0.2, 0.2 + side + 0.15)]
    show(figure.add_axes(boxes[0]), seen.pixels)
    axes = figure.add_axes(boxes[1])
    grey = seen.pixels.mean(2) / 255
    show(axes, 0.55 + 0.45 * np.repeat(grey[..., None], 3, 2))
    signed = float(found.values.min()) < 0
    values = _softened(found)
    scaled = values / (float(np.percentile(np.abs(values), 99.5)) or 1.0)
    strength = np.clip(np.abs(scaled), 0, 1)
    drawn = axes.imshow(
        scaled, cmap="RdBu_r" if signed else "inferno", vmin=-1 if signed else 0, vmax=1, alpha=0.15 + 0.7 * strength
    )
    bar = figure.colorbar(drawn, cax=figure.add_axes(((0.2 + 2 * side + 0.3) / wide, 0.4 / height, 0.13 / wide, side / height)))
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.set_ticks([-1, 0, 1] if signed else [0, 1], labels=["against", "0", "for"] if signed else ["0", "most"])
    bar.ax.tick_params(labelsize=8, colors=FAINT, length=0)
    bar.outline.set_visible(False)
    words = {"gradcam": "Grad-CAM", "ig": "integrated gradients", "smoothgrad": "SmoothGrad", "occlusion": "occlusion"}
    note = words[found.method] + (f" at {found.layer}" if found.layer else "")
    figure.text(
        0.2 / wide, 0.12 / height, f"{note}; {Path(document['network']).name}", fontsize=8, color=FAINT, parse_math=False
    )
    return figure


def _softened(found: Attribution) -> Any:
    """Maps of single pixels are averaged with their neighbours for the eye; their numbers stay as they are."""
    if found.method not in ("ig", "smoothgrad"):
        return found.values
    padded = torch.from_numpy(found.values)[None, None]
    return torch.nn.functional.avg_pool2d(padded, 5, 1, 2, count_include_pad=False)[0, 0].numpy()
