"""fit, predict, score."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from topwork.commands.common import (
    EXIT_GATE,
    EXIT_PARTIAL,
    Backbone,
    Device,
    EngineName,
    Json,
    Out,
    Quiet,
    percent,
    progress_bar,
    say,
    told_broken,
    warn,
)


def fit(
    pictures: str,
    *,
    out: Out,
    test: str | None = None,
    backbone: Backbone = "lite0",
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    test_share: float = 0.2,
    seed: int = 0,
    slim: bool = False,
    store: bool = True,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Fit a classifier to labelled pictures and write it as a bundle.

    Parameters
    ----------
    pictures
        A folder with one folder per class, train/ and test/ above such folders, or a CSV with path,label[,split].
    out
        The bundle to write, NAME.topwork; an older bundle of that name is replaced.
    test
        Labelled pictures for the score. Without it those under test/, else a part is held out.
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone; auto measures once and remembers.
    device
        Where torch runs.
    test_share
        Share of each class held out where no test pictures are given.
    seed
        Draws the split and the folds.
    slim
        Refer to the backbone by name instead of holding it.
    store
        Keep embeddings, so that the next fit need not make them again.
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    start = time.perf_counter()
    from topwork.bundle import check_place
    from topwork.fitting import FitSettings
    from topwork.fitting import fit as fit_pictures

    check_place(out)
    settings = FitSettings(backbone, weights, engine, device, test_share, seed, store)
    with progress_bar("features", quiet) as progress:
        classifier = fit_pictures(pictures, test=test, settings=settings, progress=progress)
    sha256 = classifier.save(out, slim=slim)
    facts = classifier.facts
    score, audit, timings = facts["score"], facts["audit"], facts["timings"]
    result: dict[str, Any] = {
        "bundle": str(out),
        "report": str(out / "report.html"),
        "sha256": sha256,
        **{
            key: score[key]
            for key in ("accuracy", "accuracy_low", "accuracy_high", "n", "ece", "coverage", "accuracy_answered")
        },
        "seconds": round(time.perf_counter() - start, 3),
        "images_per_second": timings["images_per_second"],
        "engine": f"{facts['engine']['name']} {facts['engine']['precision']}",
        "backbone": facts["backbone"]["id"],
        "classes": facts["classes"],
        "train": facts["data"]["train"],
        "calibration": facts["calibration"],
        "cross_validation": facts["cross_validation"],
        "head": facts["head"],
        "reasons": facts["reasons"],
        "warnings": facts["warnings"],
        "broken": audit["broken"],
        "leaks": audit["leaks"],
        "accuracy_without_leaks": audit["accuracy_without_leaks"],
        "seconds_by_step": timings["steps"],
    }
    say(result, _fit_text(result, audit), json_)
    warn(*facts["warnings"], *told_broken(audit["broken"]))
    return EXIT_PARTIAL if audit["broken"] else 0


def _fit_text(result: dict[str, Any], audit: dict[str, Any]) -> str:
    lines = [
        f"{result['bundle']}: {percent(result['accuracy'])} right "
        f"({percent(result['accuracy_low'])} to {percent(result['accuracy_high'])}, {result['n']} test pictures), "
        f"{len(result['classes'])} classes, {result['train']} training pictures, {result['seconds']:.1f} s",
        f"  probabilities   {'calibrated' if result['calibration']['calibrated'] else result['calibration']['reason']}; "
        f"calibration error {result['ece']:.3f}",
        f"  none of these   said of {percent(1 - result['coverage'])} of the test pictures; "
        f"of the others {percent(result['accuracy_answered'])} right",
        f"  head            {result['head']['kind']} on {result['head']['view']}"
        f"{', averaged with mirror images' if result['head']['mirrored'] else ''}",
        f"  engine          {result['engine']}, {result['images_per_second']:.0f} pictures a second, files to features",
    ]
    told = [
        (len(audit["broken"]), "broken"),
        (len(audit["duplicates"]), "groups of copies"),
        (len(audit["near_duplicates"]), "groups of near-copies"),
        (len(audit["label_conflicts"]), "label conflicts"),
        (len(audit["leaks"]), "test pictures that are copies of training pictures"),
        (len(audit["suspect_labels"]), "suspect labels"),
    ]
    found = ", ".join(f"{count} {what}" for count, what in told if count)
    lines.append(f"  pictures        {found or 'nothing found wrong'}")
    if audit["accuracy_without_leaks"] is not None:
        lines.append(f"  without leaks   {percent(audit['accuracy_without_leaks'])} right")
    lines.append(f"  report          {result['report']}")
    return "\n".join(lines)


def predict(
    bundle: Path,
    pictures: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    always_answer: bool = False,
    top: int = 5,
    format_: Annotated[str, Parameter(name="--format")] = "text",
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say what pictures show.

    Parameters
    ----------
    bundle
        A bundle made by topwork fit.
    pictures
        Pictures, or folders of them.
    always_answer
        Name the likeliest class even where "none of these" is the better answer.
    top
        How many classes the ranking shows.
    format_
        text or csv.
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    from topwork.classifier import Classifier

    classifier = Classifier.load(bundle)
    with progress_bar("pictures", quiet) as progress:
        answers = classifier.predict(pictures, always_answer=always_answer, top=top, progress=progress)
    document = {
        "bundle": str(bundle),
        "threshold": classifier.strangers.threshold,
        "seconds": round(answers.seconds, 3),
        "predictions": [row.to_config() for row in answers],
    }
    if format_ == "csv" and not json_:
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["path", "label", "probability", "none_of_these", "error"])
        for row in answers:
            table.writerow([row.path, row.label or "", row.probability or "", int(row.none_of_these), row.error or ""])
        print(out.getvalue(), end="")
    else:
        lines = []
        for row in answers:
            if row.error is not None:
                continue
            ranking = ", ".join(f"{one['label']} {percent(one['probability'])}" for one in row.top[:3])
            lines.append(f"{row.path}: {row.label} ({ranking})")
        say(document, "\n".join(lines), json_)
    warn(*answers.warnings, *[f"{row.path}: {row.error}" for row in answers if row.error is not None])
    return EXIT_PARTIAL if answers.failed else 0


def score(
    bundle: Path,
    pictures: str,
    /,
    *,
    fail_under: float | None = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Tell how good a classifier's answers to labelled pictures are.

    Parameters
    ----------
    bundle
        A bundle made by topwork fit.
    pictures
        A folder with one folder per class, or a CSV with path,label.
    fail_under
        Exit with code 4 when the accuracy is below this share (0.95) or percentage (95).
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    from topwork.classifier import Classifier

    classifier = Classifier.load(bundle)
    with progress_bar("pictures", quiet) as progress:
        found = classifier.score(pictures, progress=progress)
    document = {
        "bundle": str(bundle),
        **found.to_config(),
        "engine": f"{classifier.engine.name} {classifier.engine.precision}",
        "backbone": classifier.spec.id,
    }
    text = [
        f"{percent(found.accuracy)} right ({percent(found.accuracy_low)} to {percent(found.accuracy_high)}, n = {found.n})",
        f"  calibration error {found.ece:.3f}; answered {percent(found.coverage)}, "
        f"of those {percent(found.accuracy_answered)} right",
    ]
    weak = sorted((row for row in found.per_class if row["n"]), key=lambda row: row["recall"])[:5]
    text += [f"  {row['label']}: {percent(row['recall'])} of {row['n']} found" for row in weak if row["recall"] < 1]
    text += [
        f"  {one['path']}: said {one['predicted']} {percent(one['probability'])}, is {one['label']}"
        for one in found.mistakes[:5]
    ]
    say(document, "\n".join(text), json_)
    warn(*told_broken(found.broken))
    if fail_under is not None and found.accuracy < (fail_under / 100 if fail_under > 1 else fail_under):
        warn(f"accuracy {percent(found.accuracy)} is below --fail-under {fail_under:g}")
        return EXIT_GATE
    return EXIT_PARTIAL if found.broken else 0
