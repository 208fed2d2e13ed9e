"""From a picture's file to a figure of what the layers of a network see in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from topwork.classifier import Classifier
from topwork.errors import InputError
from topwork.look.colours import coloured, main_directions, squares, strongest
from topwork.look.opening import open_stages
from topwork.look.seeing import Seen, check_picture, check_png, classifier_at, see
from topwork.look.sheets import captioned, save_figure
from topwork.look.sight import Maps

CHANNELS_OF_ONE, CHANNELS_OF_EACH = 23, 7
"""Channels that are shown of one layer, and of each stage."""


def listed_layers(source: str, weights: str) -> list[dict[str, Any]]:
    """Each layer's name, kind and output shape, as JSON types."""
    from topwork.look.maps import layers, opened

    found = layers(opened(classifier_at(source) or source, weights))
    return [{"layer": one.name, "kind": one.kind, "shape": list(one.shape)} for one in found]


def look(
    source: str, picture: str, out: Path, layer: str = "all", pca: bool = False, weights: str = "pretrained"
) -> dict[str, Any]:
    """Draw what a layer, or with "all" each stage, sees in a picture; tells the layers and the channels shown.

    pca: the three main directions of each layer as colours, instead of its strongest channels. Raises TopworkError.
    """
    check_png(out, picture)
    check_picture(picture)
    seen, maps, filters = _seen_by(classifier_at(source) or source, weights, picture, layer)
    names = list(maps)
    name = Path(source).name
    shown: dict[str, list[int]] = {}
    pictures: list[Any] = []
    captions: list[tuple[str, str]] = []
    if pca:
        pictures, captions = [seen.pixels], [("the picture", f"{seen.pixels.shape[1]} x {seen.pixels.shape[0]}")]
        for one in names:
            height, width = maps[one].shape[1:]
            pictures.append(squares(main_directions(maps[one])))
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
        filters = filters[:CHANNELS_OF_EACH]
        pictures = [seen.pixels, *filters]
        captions = [("the picture", ""), *(("first filters" if not place else "", "") for place in range(len(filters)))]
        pictures += [np.full((8, 8, 3), 255, np.uint8)] * (columns - len(pictures))
        captions += [("", "")] * (columns - len(captions))
        for one in names:
            shown[one] = strongest(maps[one], CHANNELS_OF_EACH)
            channels, height, width = maps[one].shape
            pictures += [squares(main_directions(maps[one])), *(coloured(maps[one][channel]) for channel in shown[one])]
            captions += [(one, f"{channels} of {width} x {height}"), *(("", f"channel {channel}") for channel in shown[one])]
        note = "left: the three main directions of the stage as colours; right of it: its strongest channels"
        figure = captioned(pictures, captions, f"What the stages of {name} see", columns=columns, side=1.2, note=note)
    save_figure(figure, out)
    told = [{"layer": one, "shape": list(maps[one].shape), "channels": shown.get(one, [])} for one in names]
    return {"network": source, "picture": picture, "out": str(out), "layers": told}


def _seen_by(source: str | Classifier, weights: str, picture: str, layer: str) -> tuple[Seen, dict[str, Maps], list[Maps]]:
    """(the picture, the maps of a layer or with "all" of each stage, the first filters)."""
    stages = open_stages(source, weights)
    if layer == "all" and not stages.names:
        name = stages.spec.id
        raise InputError(f"{name}: no stage of it has maps to show. See --list-layers, and name one with --layer.")
    seen = see(picture, stages.spec.geometry)
    if layer == "all":
        return seen, stages.maps(seen.image), stages.filters
    if layer in stages.names:
        return seen, {layer: stages.maps(seen.image)[layer]}, []
    import torch

    from topwork.look.maps import layer_maps, opened

    return seen, layer_maps(opened(source, weights), torch.from_numpy(seen.image)[None], [layer]), []
