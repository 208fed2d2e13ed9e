"""look, explain, ideal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from topwork.commands.common import (
    Json,
    Offline,
    Out,
    Quiet,
    Seed,
    Switch,
    Weights,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
)
from topwork.errors import InputError

Words = Annotated[tuple[str, ...], Parameter(negative="")]
Source = Annotated[str | None, Parameter(name=["--backbone", "-b"])]


def look(
    words: Words = (),
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    backbone: Source = None,
    weights: Weights = "pretrained",
    layer: str = "all",
    list_layers: Switch = False,
    pca: Switch = False,
    offline: Offline = False,
    json_: Json = False,
) -> int:
    """Show what the layers of a network see in a picture.

    Parameters
    ----------
    words
        A bundle made by topwork fit, then a picture; with -b only the picture.
    out
        The PNG to write.
    backbone
        Instead of a bundle: a network, lite0, vgg16, timm:NAME or keras:NAME.
    layer
        A layer's name, or all: a strip for each stage.
    list_layers
        Tell the layers instead; no picture is needed.
    pca
        The three main directions of a layer as colours, instead of its strongest channels.
    """
    from topwork.look import showing

    stay_offline(offline)
    if list_layers:
        source = _source_first(words, backbone)[0]
        rows = showing.listed_layers(source, weights)
        lines = [f"{row['layer']}: {row['kind']}, {' x '.join(map(str, row['shape']))}" for row in rows]
        say({"network": source, "layers": rows}, lines, json_)
        return 0
    source, picture = _source_and_picture(words, backbone)
    document = showing.look(source, picture, _wanted(out), layer, pca, weights)
    told = [f"  {one['layer']}: {' x '.join(map(str, one['shape']))}" for one in document["layers"]]
    say(document, [f"{out}: what {source} sees in {picture}", *told], json_)
    return 0


def explain(
    words: Words = (),
    /,
    *,
    out: Out,
    backbone: Source = None,
    weights: Weights = "pretrained",
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    against: str | None = None,
    method: Literal["gradcam", "ig", "smoothgrad", "occlusion"] = "gradcam",
    layer: str | None = None,
    check: Switch = False,
    offline: Offline = False,
    json_: Json = False,
) -> int:
    """Show which pixels of a picture made the answer.

    Parameters
    ----------
    words
        A bundle made by topwork fit, then a picture; with -b only the picture.
    out
        The PNG to write.
    backbone
        Instead of a bundle: a network with its original classes, lite0, vgg16, timm:NAME or keras:NAME.
    class_
        The class to explain; without it the one that is predicted.
    against
        Explain why the class rather than this one.
    method
        gradcam is coarse and fast; ig (integrated gradients) and smoothgrad are fine; occlusion covers part after part.
    layer
        Of gradcam; without it the last layer with maps that the answer depends on.
    check
        Also tell whether the most telling pixels matter more than random ones: deletion and insertion.
    """
    from topwork.look.explaining import explained

    stay_offline(offline)
    source, picture = _source_and_picture(words, backbone)
    document = explained(source, picture, out, method, class_, against, layer, check, weights)
    rather = f" rather than {document['against']}" if document["against"] else ""
    lines = [f"{out}: why {document['class']} ({percent(document['probability'])}){rather}, by {method}"]
    if document["answer"] != document["class"]:
        lines.append(f"  the answer is {document['answer']}")
    if document["none_of_these"]:
        lines.append("  predict says: none of these, for the picture is unlike those the classifier learned from")
    if document["layer"]:
        lines.append(f"  layer {document['layer']}")
    if (document["completeness_error"] or 0) > COMPLETE:
        lines.append(f"  not exact: the map's sum is {percent(document['completeness_error'])} off the change that it explains")
    if check:
        lines.append(
            f"  without its most telling pixels {percent(document['deletion'])} (random ones: "
            f"{percent(document['deletion_random'])}), with them first {percent(document['insertion'])} "
            f"(random ones: {percent(document['insertion_random'])})"
        )
    say(document, lines, json_)
    return 0


COMPLETE = 0.01
"""Of integrated gradients: an error that is told."""


def _source_first(words: tuple[str, ...], backbone: str | None) -> tuple[str, tuple[str, ...]]:
    """The bundle or backbone, and the words that are left."""
    if backbone is not None:
        return backbone, words
    if not words:
        raise InputError("expected a bundle made by topwork fit, or -b with a network: -b lite0.")
    return words[0], words[1:]


def _source_and_picture(words: tuple[str, ...], backbone: str | None) -> tuple[str, str]:
    wanted = "a bundle and a picture" if backbone is None else "one picture after -b"
    if len(words) != (2 if backbone is None else 1):
        raise InputError(f"expected {wanted}, found {len(words)} {'word' if len(words) == 1 else 'words'}: {' '.join(words)}.")
    return (words[0], words[1]) if backbone is None else (backbone, words[0])


def _wanted(out: Path | None) -> Path:
    if out is None:
        raise InputError("-o: expected the PNG to write, as in -o maps.png.")
    return out


def ideal(
    words: Words = (),
    /,
    *,
    out: Out,
    backbone: Source = None,
    weights: Weights = "pretrained",
    recipe: Literal["fourier", "maco", "lesson"] = "fourier",
    steps: int | None = None,
    rate: float | None = None,
    variation: float | None = None,
    size: int = 0,
    count: int = 1,
    judges: str = "",
    layer: str | None = None,
    photos: str | None = None,
    loop: Switch = False,
    engine: Literal["auto", "openvino", "torch"] = "auto",
    seed: Seed = 0,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make the picture that a network has in mind for a class.

    Parameters
    ----------
    words
        A bundle made by topwork fit, then classes of it; with -b only classes, of those the network was trained on: zebra.
    out
        A PNG (of several classes: their sheet), or a folder for one PNG each and the sheet.
    backbone
        Instead of a bundle: a network with its original classes, lite0, vgg16, timm:NAME or keras:NAME.
    recipe
        fourier and maco are recognised by other networks; lesson is noise, cross-entropy and smoothness on plain pixels.
    steps
        Of the optimisation; if not given 448, with maco 256, with lesson 200.
    rate
        How far each step goes (Adam's learning rate).
    variation
        Weight of smoothness (total variation).
    size
        Side of the picture in pixels; 0: what the network sees.
    count
        Different pictures of each class.
    judges
        Networks or bundles that took no part, with commas between: they say whether they recognise the picture.
    layer
        Climb channels of this layer instead: the words are then their numbers.
    photos
        A folder of photos whose colours and contrast are followed (with maco their detail, too; with lesson none), instead of
        the numbers that come with topwork.
    loop
        Also write the strip of steps, an animated WebP, and the curve of the loss.
    engine
        What gives the gradients.
    seed
        Draws the start and the views.
    """
    from topwork.look.portraits import PortraitSettings, portraits

    stay_offline(offline)
    source, classes = _source_first(words, backbone)
    names = tuple(name.strip() for name in judges.split(",") if name.strip())
    settings = PortraitSettings(recipe, steps, rate, variation, size, count, seed, loop, names, layer, photos, engine)
    with progress_bar("steps", quiet) as progress:
        document = portraits(source, classes, out, settings, weights, progress)
    say(document, _ideal_text(document), json_)
    return 0


def _ideal_text(document: dict[str, Any]) -> list[str]:
    rows = document["pictures"]
    lines = [
        f"{document['out']}: {number(len(rows), 'picture')}, {document['steps']} steps of {document['recipe']}, "
        f"{document['seconds'] / len(rows):.1f} s each ({document['engine']})"
    ]
    for row in rows:
        own = f"itself {percent(row['probability'])}" if "probability" in row else "a channel"
        others = [_verdict(name, one) for name, one in row["judges"].items()]
        lines.append(f"  {row['class']}: {', '.join([own, *others])}")
    if not document["judges"] and "probability" in rows[0]:
        lines.append("  nobody else was asked: --judges NAMES asks networks that took no part whether they see it, too")
    for name, one in document["judges"].items():
        if not one["known"]:
            lines.append(f"  {name} took no part and has no class of these names")
            continue
        some = "of them" if one["known"] == len(rows) else f"of the {one['known']} that it has a class for"
        lines.append(f"  {name} took no part and agrees on {percent(one['agree'])} {some}")
    return lines


def _verdict(name: str, one: dict[str, Any]) -> str:
    if one["probability"] is None:
        return f"{name} has no such class (says {one['label']})"
    return f"{name} {percent(one['probability'])}" + ("" if one["agrees"] else f" (says {one['label']})")
