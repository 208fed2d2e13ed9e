"""distance, compare, curve, map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from topwork.commands.common import (
    EXIT_GATE,
    EXIT_PARTIAL,
    Backbone,
    Device,
    EngineName,
    Json,
    Offline,
    Quiet,
    Seed,
    Verbose,
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
    from topwork.compare.picker import Comparison
    from topwork.compare.reading import LookSettings

Figure = Annotated[Path | None, Parameter(name=["--out", "-o"])]
Bundle = Annotated[Path | None, Parameter(name="--report")]
Most = Annotated[int, Parameter(name="--pictures", validator=validators.Number(gte=1))]


def distance(
    pictures: str,
    /,
    *,
    out: Figure = None,
    report: Bundle = None,
    backbone: Backbone = "lite0",
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    most: Most = 1_000,
    seed: Seed = 0,
    store: bool = True,
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
    out
        The figure: FILE.png or FILE.svg; or a page: FILE.html.
    report
        A bundle whose report.html shall tell it too.
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone; auto measures once and remembers.
    device
        Where torch runs.
    most
        Of more pictures so many are drawn, every class in its proportion.
    seed
        Draws pictures and folds.
    store
        Keep and use stored embeddings.
    offline
        Never fetch weights of a timm network. lite0 never needs a network.
    json_
        Print one JSON document; after a mistake nothing is printed, see the exit code and stderr.
    quiet
        No progress bar.
    verbose
        Tell every layer and class, and every broken picture.
    """
    from topwork.compare.distance import distance as measure
    from topwork.compare.figures import distance_figure

    _check_out(out, report)
    stay_offline(offline)
    with progress_bar("pictures", quiet) as progress:
        found = measure(pictures, settings=_settings(backbone, weights, engine, device, most, seed, store), progress=progress)
    say(found.to_config(), _distance_text(pictures, found, verbose), json_)
    _told("distance", found.to_config(), pictures, out, report, lambda: distance_figure(found, _name(pictures)))
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


def compare(
    pictures: str,
    /,
    *,
    backbones: str,
    budget_ms: float | None = None,
    budget_mb: float | None = None,
    save: Path | None = None,
    out: Figure = None,
    report: Bundle = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    most: Most = 2_000,
    seed: Seed = 0,
    store: bool = True,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Try networks on labelled pictures, measured on this machine, and pick one. Nothing is fetched.

    Parameters
    ----------
    pictures
        Class folders, or a CSV with path,label. Of train/ and test/ only train/ counts.
    backbones
        Names with commas between; NAME=random or NAME=FILE takes other weights: lite0,timm:resnet50.
    budget_ms
        Pick among networks that answer one picture within so many milliseconds.
    budget_mb
        Pick among networks whose file has at most so many megabytes.
    save
        Fit the pick to the pictures and write it as this bundle, NAME.topwork.
    out
        The figure: FILE.png or FILE.svg; or a page: FILE.html.
    report
        A bundle whose report.html shall tell it too.
    engine
        What runs the networks; auto measures once and remembers.
    device
        Where torch runs.
    most
        Of more pictures so many are drawn, every class in its proportion.
    seed
        Draws pictures and folds.
    store
        Keep and use stored embeddings.
    json_
        Print one JSON document; after a mistake nothing is printed, see the exit code and stderr.
    quiet
        No progress bar.
    verbose
        Tell the rounds, and every broken picture.
    """
    from topwork.bundle import check_place
    from topwork.compare.figures import pareto_figure
    from topwork.compare.picker import compare_backbones, split_name

    _check_out(out, report)
    if save is not None:
        check_place(save)
    stay_offline(True)
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    settings = _settings("lite0", "pretrained", engine, device, most, seed, store)
    with progress_bar("pictures", quiet) as progress:
        found = compare_backbones(
            pictures, names, budget_ms=budget_ms, budget_mb=budget_mb, settings=settings, progress=progress
        )
    document: dict[str, Any] = {**found.to_config(), "bundle": None}
    if save is not None and found.pick is not None:
        from dataclasses import replace

        from topwork.classifier import Classifier

        network, weights = split_name(found.pick)
        fitted = Classifier.fit(
            pictures, backbone=network, weights=weights, engine=engine, device=device, seed=seed, store=store
        )
        replace(fitted, facts={**fitted.facts, "compare": found.to_config()}).save(save)
        document |= {"bundle": str(save), "score": fitted.facts["score"]}
    say(document, _compare_text(pictures, found, document, verbose), json_)
    _told("compare", found.to_config(), pictures, out, report, lambda: pareto_figure(found, _name(pictures)))
    warn(*found.warnings, *told_broken(found.broken, verbose))
    if found.pick is None:
        warn(f"topwork: {found.reason}." + ("" if save is None else f" {save} was not written."))
        return EXIT_GATE
    return EXIT_PARTIAL if found.broken else 0


def _compare_text(pictures: str, found: Comparison, document: dict[str, Any], verbose: bool) -> list[str]:
    wide = max(len(one.name) for one in found.backbones)
    lines = [
        f"{pictures}: {number(found.pictures, 'picture')}, {number(found.classes, 'class', 'classes')}, "
        f"{number(len(found.backbones), 'network')}, {found.seconds:.1f} s",
        f"    {'network':<{wide}}   right   (95 %)             ms  pictures/s     MB   LogME  H-score    LEEP",
    ]
    for one in found.backbones:
        leep = "      -" if one.leep is None else f"{one.leep:7.2f}"
        lines.append(
            f"  {'>' if one.name == found.pick else ' '} {one.name:<{wide}}  {percent(one.accuracy):>7}  "
            f"({percent(one.accuracy_low)} to {percent(one.accuracy_high)}) {one.latency_ms:7.1f}  "
            f"{one.images_per_second:10.0f} {one.size_mb:6.1f} {one.logme:7.3f}  {one.h_score:7.2f} {leep}"
            + (f"  dropped {one.dropped}" if one.dropped else "")
        )
    lines.append(f"  pick            {found.reason}")
    if found.test is not None:
        test = found.test
        told = "differ" if test["p"] < 0.05 else f"cannot be told apart with {found.pictures:,} pictures"
        lines.append(
            f"  the best two    {test['first']} and {test['second']} {told}: {100 * test['gain']:+.1f} points "
            f"({100 * test['low']:+.1f} to {100 * test['high']:+.1f}), p = {test['p']:.2g}"
        )
    for skipped in found.skipped:
        then = f" Get it: {skipped['command']}" if skipped["command"] else ""
        lines.append(f"  skipped         {skipped['name']}: its weights are not at hand.{then}")
        if verbose:
            lines.append(f"                  {skipped['reason']}")
    if verbose:
        lines += [f"  round           {one['pictures']:,} pictures: {', '.join(one['networks'])}" for one in found.rounds]
    if document["bundle"]:
        score = document["score"]
        lines.append(
            f"  saved           {document['bundle']}: {percent(score['accuracy'])} right ({percent(score['accuracy_low'])} to "
            f"{percent(score['accuracy_high'])}, {number(score['n'], 'test picture')})"
        )
    return lines


def curve(
    pictures: str,
    /,
    *,
    goal: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=100))] = None,
    out: Figure = None,
    report: Bundle = None,
    backbone: Backbone = "lite0",
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    most: Most = 5_000,
    seed: Seed = 0,
    store: bool = True,
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
    out
        The figure: FILE.png or FILE.svg; or a page: FILE.html.
    report
        A bundle whose report.html shall tell it too.
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone; auto measures once and remembers.
    device
        Where torch runs.
    most
        Of more pictures so many are drawn, every class in its proportion.
    seed
        Draws pictures, folds and parts.
    store
        Keep and use stored embeddings.
    offline
        Never fetch weights of a timm network. lite0 never needs a network.
    json_
        Print one JSON document; after a mistake nothing is printed, see the exit code and stderr.
    quiet
        No progress bar.
    verbose
        Tell every class, and every broken picture.
    """
    from topwork.compare.figures import curve_figure
    from topwork.compare.learning import CurveSettings
    from topwork.compare.learning import curve as measure

    _check_out(out, report)
    stay_offline(offline)
    how = CurveSettings(goal=None if goal is None else goal / 100 if goal > 1 else goal)
    settings = _settings(backbone, weights, engine, device, most, seed, store)
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
    _told("curve", found.to_config(), pictures, out, report, lambda: curve_figure(found, _name(pictures)))
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
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    most: Most = 1_000,
    seed: Seed = 0,
    store: bool = True,
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
    report
        A bundle whose report.html shall show it too.
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone; auto measures once and remembers.
    device
        Where torch runs.
    most
        Of more pictures so many are drawn, every class in its proportion.
    seed
        Draws pictures, folds and the map.
    store
        Keep and use stored embeddings.
    offline
        Never fetch weights of a timm network. lite0 never needs a network.
    json_
        Print one JSON document; after a mistake nothing is printed, see the exit code and stderr.
    quiet
        No progress bar.
    verbose
        Tell every suspect label and stranger, and every broken picture.
    """
    from topwork.compare.atlas import check_map, write_map
    from topwork.compare.map import picture_map

    for path in out:
        check_map(path)
    _check_out(None, report)
    stay_offline(offline)
    settings = _settings(backbone, weights, engine, device, most, seed, store)
    with progress_bar("pictures", quiet) as progress:
        found = picture_map(pictures, method=method, settings=settings, progress=progress)
    for path in out:
        write_map(found, path, _name(pictures))
    lines = [
        f"{', '.join(map(str, out))}: {number(len(found.points), 'picture')}, {number(found.suspects, 'suspect label')}, "
        f"{number(found.strangers, 'stranger')} ({found.method}, {100 * found.kept:.0f} % kept, {found.seconds:.1f} s)"
    ]
    marked = [one for one in found.points if one.suggested or one.stranger]
    for one in marked if verbose else marked[:5]:
        told = f"{one.label}, looks like {one.suggested}" if one.suggested else "far from every other picture"
        lines.append(f"  {one.path}: {told}")
    say({"out": [str(path) for path in out], **found.to_config()}, lines, json_)
    _told("map", found.to_config(), pictures, None, report, None)
    warn(*found.warnings, *told_broken(found.broken, verbose))
    return EXIT_PARTIAL if found.broken else 0


def _settings(
    backbone: str, weights: str, engine: EngineName, device: Device, most: int, seed: int, store: bool
) -> LookSettings:
    from topwork.compare.reading import LookSettings

    return LookSettings(backbone, weights, engine, device, most, seed, store)


def _name(pictures: str) -> str:
    """What the folder is called; of name/train the first."""
    path = Path(pictures).absolute()
    return path.parent.name if path.name in ("train", "training") else path.name


def _check_out(out: Path | None, report: Path | None) -> None:
    """Refuse, before any work, what cannot be written."""
    from topwork.bundle import read_bundle
    from topwork.compare.figures import check_figure

    if out is not None:
        check_figure(out, (".png", ".svg", ".html"))
    if report is not None:
        read_bundle(report)


def _told(
    what: str, facts: dict[str, Any], pictures: str, out: Path | None, report: Path | None, figure: Callable[[], Any] | None
) -> None:
    """Write the figure or page, and the section of a bundle's report."""
    from topwork.compare.telling import tell_in_bundle, write_page

    if out is not None and out.suffix.lower() == ".html":
        write_page(out, _name(pictures), what, facts)
    elif out is not None and figure is not None:
        from topwork.compare.figures import draw

        draw(figure(), out)
    if report is not None:
        tell_in_bundle(report, what, facts)
