"""distance: how strange pictures are to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topwork.commands.challenge import Bundle, Figure, Most, check_out, folder_name, look_settings, tell
from topwork.commands.common import (
    EXIT_PARTIAL,
    Backbone,
    Device,
    Engine,
    Json,
    Offline,
    Quiet,
    Seed,
    Store,
    Verbose,
    Weights,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
    told_broken,
    warn,
)

if TYPE_CHECKING:
    from topwork.compare.distance import Distance


def distance(
    pictures: str,
    /,
    *,
    out: Figure = None,
    report: Bundle = None,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    engine: Engine = "auto",
    device: Device = "auto",
    most: Most = 1_000,
    seed: Seed = 0,
    store: Store = True,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Tell how strange pictures are to a network, what it takes them for, and what to train.

    Parameters
    ----------
    pictures
        A folder of pictures, a CSV, or class folders; advice takes labels. Of train/ and test/ only train/ counts.
    seed
        Draws pictures and folds.
    verbose
        Tell every layer and class, and every broken picture.
    """
    from topwork.compare.distance import distance as measure
    from topwork.compare.figures import distance_figure

    check_out(out, report)
    stay_offline(offline)
    with progress_bar("pictures", quiet) as progress:
        found = measure(
            pictures, settings=look_settings(backbone, weights, engine, device, most, seed, store), progress=progress
        )
    say(found.to_config(), _distance_text(pictures, found, verbose), json_)
    tell("distance", found.to_config(), pictures, out, report, lambda: distance_figure(found, folder_name(pictures)))
    warn(*found.warnings, *told_broken(found.broken, verbose))
    return EXIT_PARTIAL if found.broken else 0


def _distance_text(pictures: str, found: Distance, verbose: bool) -> list[str]:
    from topwork.compare.distance import LANDMARKS

    scale = ", ".join(f"{what} {figure:.3f}" for what, figure in LANDMARKS.items()) if found.backbone == "lite0" else ""
    lines = [
        f"{pictures}: distance {found.distance:.3f} from what {found.backbone} was trained on "
        f"(by its {found.measured_by}, {number(found.pictures, 'picture')}, {found.seconds:.1f} s)",
        *([f"  for comparison  {scale}"] if scale else []),
        f"  advice          {found.reason}",
    ]
    expected = found.details.get("expected")
    if expected:
        lines.append(
            f"  to expect       {percent(expected['accuracy'])} right "
            f"({percent(expected['low'])} to {percent(expected['high'])})"
        )
    classes = list(found.taken_for.items())
    for label, taken in classes if verbose else classes[:8]:
        told = ", ".join(f"{one['name']} {100 * one['share']:.0f} %" for one in taken[:3])
        lines.append(f"  taken for       {label + ': ' if label else ''}{told}")
    if len(classes) > 8 and not verbose:
        lines.append(f"  and {len(classes) - 8} classes more, see -v")
    if verbose:
        lines += [f"  layer           {one['name']}: {one['distance']:.3f}" for one in found.layers]
    return lines
