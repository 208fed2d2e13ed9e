"""compare: which network to pick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.commands.challenge import Bundle, Figure, Most, check_out, folder_name, look_settings, tell
from topwork.commands.common import (
    EXIT_GATE,
    EXIT_PARTIAL,
    Device,
    Engine,
    Json,
    Quiet,
    Seed,
    Store,
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
    from topwork.compare.picker import Comparison


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
    engine: Engine = "auto",
    device: Device = "auto",
    most: Most = 2_000,
    seed: Seed = 0,
    store: Store = True,
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
    seed
        Draws pictures and folds.
    verbose
        Tell the rounds, and every broken picture.
    """
    from topwork.bundle import check_place
    from topwork.compare.figures import pareto_figure
    from topwork.compare.picker import compare_backbones, split_name

    check_out(out, report)
    if save is not None:
        check_place(save)
    stay_offline(True)
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    settings = look_settings("lite0", "pretrained", engine, device, most, seed, store)
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
    tell("compare", found.to_config(), pictures, out, report, lambda: pareto_figure(found, folder_name(pictures)))
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
        get = f"its weights are not at hand. Get it: {skipped['command']}"
        lines.append(f"  skipped         {skipped['name']}: {get if skipped['command'] else skipped['reason']}")
        if verbose and skipped["command"]:
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
