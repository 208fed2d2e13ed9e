"""look, explain, ideal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from topwork.commands.common import (
    Json,
    Offline,
    Out,
    Quiet,
    Seed,
    Switch,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
)

Source = Annotated[str | None, Parameter(name=["--backbone", "-b"])]


def ideal(
    words: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Out,
    backbone: Source = None,
    weights: str = "pretrained",
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
        Instead of a bundle: a network with its original classes, lite0 or timm:NAME.
    weights
        Of the backbone: pretrained, random, or a file.
    recipe
        fourier and maco are recognised by other networks; lesson is noise, cross-entropy and smoothness on plain pixels.
    steps
        Of the optimisation; each recipe has its own number.
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
        A folder of photos whose colours and detail are followed, instead of the numbers that come with topwork.
    loop
        Also write the strip of steps, an animated WebP, and the curve of the loss.
    engine
        What gives the gradients.
    seed
        Draws the start and the views.
    offline
        Never fetch weights of a timm network.
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    from topwork.look.portraits import PortraitSettings, portraits

    stay_offline(offline)
    source, classes = (words[0], words[1:]) if backbone is None else (backbone, words)
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
        others = [
            f"{name} {percent(one['probability'])}" + ("" if one["agrees"] else f" (says {one['label']})")
            for name, one in row["judges"].items()
        ]
        lines.append(f"  {row['class']}: {', '.join([own, *others])}")
    for name, one in document["judges"].items():
        lines.append(f"  {name} took no part and agrees on {percent(one['agree'])} of them")
    return lines
