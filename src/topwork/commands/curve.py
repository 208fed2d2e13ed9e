"""curve, map: how many more photos, and the folder as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

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


def curve(
    pictures: str,
    /,
    *,
    goal: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=100))] = None,
    out: Figure = None,
    report: Bundle = None,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    engine: Engine = "auto",
    device: Device = "auto",
    most: Most = 5_000,
    seed: Seed = 0,
    store: Store = True,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Tell how many more photos it takes: accuracy against pictures a class, with a forecast.

    Parameters
    ----------
    pictures
        Class folders, or a CSV with path,label. Of train/ and test/ only train/ counts.
    goal
        The accuracy to forecast photos for: a share (0.95) or a percentage (95). Without it half of today's errors.
    seed
        Draws pictures, folds and parts.
    verbose
        Tell every class, and every broken picture.
    """
    from topwork.compare.figures import curve_figure
    from topwork.compare.learning import CurveSettings
    from topwork.compare.learning import curve as measure

    check_out(out, report)
    stay_offline(offline)
    how = CurveSettings(goal=None if goal is None else goal / 100 if goal > 1 else goal)
    settings = look_settings(backbone, weights, engine, device, most, seed, store)
    with progress_bar("pictures", quiet) as progress:
        found = measure(pictures, how=how, settings=settings, progress=progress)
    now = found.forecast["now"]
    lines = [
        f"{pictures}: {found.reason} ({found.seconds:.1f} s)",
        f"  today           {percent(now['accuracy'])} right ({percent(now['low'])} to {percent(now['high'])}) with "
        f"{now['per_class']:.0f} pictures a class, all used for training",
        *[
            f"  {one.per_class:7.1f} a class {percent(one.accuracy):>7} right ({percent(one.low)} to {percent(one.high)})"
            for one in found.points
        ],
    ]
    for one in found.classes[: None if verbose else 5]:
        lines.append(
            f"  gains most      {one.label}: {percent(one.accuracy)} now, {100 * one.gain:+.1f} points with twice its photos "
            f"({100 * one.low:+.1f} to {100 * one.high:+.1f})"
        )
    say(found.to_config(), lines, json_)
    tell("curve", found.to_config(), pictures, out, report, lambda: curve_figure(found, folder_name(pictures)))
    warn(*found.warnings, *told_broken(found.broken, verbose))
    return EXIT_PARTIAL if found.broken else 0


def map_(
    pictures: str,
    /,
    *,
    out: Annotated[list[Path], Parameter(name=["--out", "-o"], negative="")],
    method: Literal["tsne", "pca"] = "tsne",
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
    """Draw a folder as a map: alike pictures near each other, suspect labels and strangers ringed.

    Parameters
    ----------
    pictures
        A folder of pictures, a CSV, or class folders.
    out
        FILE.png, or FILE.html: one page that shows each picture under the pointer. Give it twice for both.
    method
        tsne keeps neighbours together; pca keeps distances, as far as two directions can.
    seed
        Draws pictures, folds and the map.
    verbose
        Tell every suspect label and stranger, and every broken picture.
    """
    from topwork.compare.atlas import check_map, write_map
    from topwork.compare.map import picture_map

    for path in out:
        check_map(path)
    check_out(None, report)
    stay_offline(offline)
    settings = look_settings(backbone, weights, engine, device, most, seed, store)
    with progress_bar("pictures", quiet) as progress:
        found = picture_map(pictures, method=method, settings=settings, progress=progress)
    for path in out:
        write_map(found, path, folder_name(pictures))
    lines = [
        f"{', '.join(map(str, out))}: {number(len(found.points), 'picture')}, {number(found.suspects, 'suspect label')}, "
        f"{number(found.strangers, 'stranger')} ({found.method}, {100 * found.kept:.0f} % kept, {found.seconds:.1f} s)"
    ]
    marked = [one for one in found.points if one.suggested or one.stranger]
    for one in marked if verbose else marked[:5]:
        told = f"{one.label}, looks like {one.suggested}" if one.suggested else "far from every other picture"
        lines.append(f"  {one.path}: {told}")
    say({"out": [str(path) for path in out], **found.to_config()}, lines, json_)
    tell("map", found.to_config(), pictures, None, report, None)
    warn(*found.warnings, *told_broken(found.broken, verbose))
    return EXIT_PARTIAL if found.broken else 0
