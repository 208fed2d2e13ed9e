"""fit, predict, score."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from topwork.commands.common import (
    EXIT_GATE,
    EXIT_PARTIAL,
    Backbone,
    Device,
    Engine,
    Json,
    Offline,
    Out,
    Quiet,
    Seed,
    Store,
    Switch,
    Verbose,
    Weights,
    number,
    percent,
    progress_bar,
    right,
    say,
    stay_offline,
    told_broken,
    warn,
)

FEW = 50
"""Test pictures below which cross-validation stands beside them."""

if TYPE_CHECKING:
    from topwork.answers import Prediction, Score


def fit(
    pictures: str,
    /,
    *,
    out: Out,
    test: str | None = None,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    engine: Engine = "auto",
    device: Device = "auto",
    test_share: Annotated[float, Parameter(validator=validators.Number(gt=0, lt=1))] = 0.2,
    seed: Seed = 0,
    slim: Switch = False,
    store: Store = True,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
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
    test_share
        Share of each class held out where no test pictures are given.
    seed
        Draws the split and the folds.
    slim
        Refer to the backbone by name instead of holding it.
    verbose
        Tell the reason of every automatic choice, the seconds of each step, and every broken picture.
    """
    start = time.perf_counter()
    from topwork.bundle import check_place
    from topwork.fitting import FitSettings
    from topwork.fitting import fit as fit_pictures

    check_place(out)
    stay_offline(offline)
    settings = FitSettings(backbone, weights, engine, device, test_share, seed, store)
    with progress_bar("features", quiet) as progress:
        classifier = fit_pictures(pictures, test=test, settings=settings, progress=progress)
    replaced = out.exists()
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
        "stored": timings["stored"],
        "replaced": replaced,
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
    if verbose:
        warn(*[f"{what}: {reason}" for what, reason in facts["reasons"].items()])
        warn(*[f"{step}: {seconds:.2f} s" for step, seconds in timings["steps"].items()])
    warn(*facts["warnings"], *told_broken(audit["broken"], verbose))
    return EXIT_PARTIAL if audit["broken"] else 0


def _fit_text(result: dict[str, Any], audit: dict[str, Any]) -> list[str]:
    lines = [
        f"{result['bundle']}: {right(result['accuracy'])} right "
        f"({right(result['accuracy_low'])} to {right(result['accuracy_high'])}, {number(result['n'], 'test picture')}), "
        f"{number(len(result['classes']), 'class', 'classes')}, {number(result['train'], 'training picture')}, "
        f"{result['seconds']:.1f} s",
        f"  probabilities   {'calibrated' if result['calibration']['calibrated'] else result['calibration']['reason']}; "
        f"calibration error {result['ece']:.3f}",
        f"  none of these   said of {percent(1 - result['coverage'])} of the test pictures; "
        f"of the others {right(result['accuracy_answered'])} right",
        f"  head            {_head(result['head'])}",
        f"  engine          {result['engine']}, {_rate(result['images_per_second'], result['stored'], audit['usable'])}",
    ]
    if result["n"] < FEW and (crossed := result["cross_validation"]):
        lines.insert(
            1,
            f"  cross-validated {right(crossed['accuracy'])} right ({right(crossed['accuracy_low'])} to "
            f"{right(crossed['accuracy_high'])}, {number(crossed['n'], 'training picture')}); so small a test says little",
        )
    told = {
        "broken": ("broken picture", None),
        "duplicates": ("group of copies", "groups of copies"),
        "near_duplicates": ("group of near-copies", "groups of near-copies"),
        "label_conflicts": ("label conflict", None),
        "leaks": ("test picture that is a copy of a training picture", "test pictures that are copies of training pictures"),
        "suspect_labels": ("suspect label", None),
    }
    found = ", ".join(number(len(audit[key]), *words) for key, words in told.items() if audit[key])
    lines.append(f"  pictures        {found or 'nothing found wrong'}")
    if audit["accuracy_without_leaks"] is not None:
        lines.append(f"  without leaks   {right(audit['accuracy_without_leaks'])} right")
    lines.append(f"  report          {result['report']}")
    if result["replaced"]:
        lines.append("  replaced        the bundle that had this name")
    return lines


KINDS = {
    "logistic": "logistic regression",
    "discriminant": "linear discriminant",
    "blend": "logistic regression and linear discriminant, averaged,",
    "nearest mean": "nearest class mean",
    "k-nn": "nearest pictures",
}
VIEWS = {"last": "the last features", "stages": "features of every stage", "answers": "its answers to its original classes"}


def _head(head: dict[str, Any]) -> str:
    """What answers, and from what it answers, in words."""
    seen = " and ".join(VIEWS.get(part, part) for part in str(head["view"]).split("+"))
    mirrored = "; mean of a picture and its mirror image" if head["mirrored"] else ""
    return f"{KINDS.get(head['kind'], head['kind'])} on {seen}{mirrored}"


def _rate(images_per_second: float, stored: int, pictures: int) -> str:
    """How fast pictures became features; those that came from the store tell nothing of the engine."""
    if stored >= pictures:
        return f"all {pictures:,} features from the store"
    told = f"{images_per_second:,.0f} pictures a second, files to features"
    return f"{told} ({stored:,} of them from the store)" if stored else told


def predict(
    bundle: Path,
    pictures: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    always_answer: Switch = False,
    top: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 5,
    format_: Annotated[Literal["text", "csv"], Parameter(name="--format")] = "text",
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Say what pictures show.

    Parameters
    ----------
    bundle
        A bundle made by topwork fit.
    pictures
        Pictures, folders of them, or a CSV with path,label. Write -- before a name that begins with a dash.
    always_answer
        Name the likeliest class even where "none of these" is the better answer.
    top
        How many classes the ranking shows.
    format_
        One line of text for each picture, or a CSV table.
    verbose
        Tell the engine, the seconds, and how far each picture is from the threshold for "none of these".
    """
    from topwork.classifier import Classifier

    stay_offline(offline)
    classifier = Classifier.load(bundle)
    with progress_bar("pictures", quiet) as progress:
        answers = classifier.predict(pictures, always_answer=always_answer, top=top, progress=progress)
    document = {
        "bundle": str(bundle),
        "threshold": classifier.strangers.threshold,
        "seconds": round(answers.seconds, 3),
        "engine": f"{classifier.engine.name} {classifier.engine.precision}",
        "backbone": classifier.spec.id,
        "warnings": answers.warnings,
        "predictions": [row.to_config() for row in answers],
    }
    if format_ == "csv" and not json_:
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["path", "label", "probability", "none_of_these", "error"])
        for row in answers:
            seen = row.error is None
            table.writerow(
                [row.path, row.label, row.probability, str(row.none_of_these).lower(), ""]
                if seen
                else [row.path, "", "", "", row.error]
            )
        print(out.getvalue(), end="")
    else:
        say(document, [_answer_text(row, top, verbose) for row in answers if row.error is None], json_)
    if verbose:
        warn(
            f"engine: {document['engine']}; {number(len(answers), 'picture')} in {answers.seconds:.2f} s; "
            f"none of these from a stranger score of {classifier.strangers.threshold:.3g}"
        )
    warn(*answers.warnings, *[f"{row.path}: {row.error}" for row in answers if row.error is not None])
    return EXIT_PARTIAL if answers.failed else 0


def _answer_text(row: Prediction, top: int, verbose: bool) -> str:
    """path: label probability, then the runners-up."""
    ranking = [f"{one['label']} {percent(one['probability'])}" for one in row.top[: top if verbose else min(top, 3)]]
    score = f"; stranger score {row.stranger_score:.3g}" if verbose else ""
    if row.none_of_these:
        return f"{row.path}: {row.label} (most like {', '.join(ranking)}{score})"
    rest = f"{', '.join(ranking[1:])}{score}".removeprefix("; ")
    return f"{row.path}: {ranking[0]}" + (f" ({rest})" if rest else "")


def score(
    bundle: Path,
    pictures: str,
    /,
    *,
    fail_under: Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=100))] = None,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Tell how good a classifier's answers to labelled pictures are.

    Parameters
    ----------
    bundle
        A bundle made by topwork fit.
    pictures
        A folder with one folder per class, or a CSV with path,label.
    fail_under
        Exit with code 4 when the accuracy is below this share (0.95) or percentage (95); 1 is all of them.
    verbose
        Tell every class, and every mistake and broken picture.
    """
    from topwork.classifier import Classifier

    stay_offline(offline)
    classifier = Classifier.load(bundle)
    with progress_bar("pictures", quiet) as progress:
        found = classifier.score(pictures, progress=progress)
    document = {
        "bundle": str(bundle),
        **found.to_config(),
        "engine": f"{classifier.engine.name} {classifier.engine.precision}",
        "backbone": classifier.spec.id,
    }
    calibrated = (classifier.facts.get("calibration") or {}).get("calibrated", True)
    say(document, _score_text(str(bundle), found, calibrated, None if verbose else 5), json_)
    warn(*[f"warning: {one}" for one in found.warnings], *told_broken(found.broken, verbose))
    if fail_under is not None and found.accuracy < (fail_under / 100 if fail_under > 1 else fail_under):
        wanted = percent(fail_under / 100 if fail_under > 1 else fail_under)
        warn(f"topwork: expected at least {wanted} right (--fail-under {fail_under:g}), found {right(found.accuracy)}.")
        return EXIT_GATE
    return EXIT_PARTIAL if found.broken else 0


def _score_text(bundle: str, found: Score, calibrated: bool, most: int | None) -> list[str]:
    lines = [
        f"{bundle}: {right(found.accuracy)} right ({right(found.accuracy_low)} to {right(found.accuracy_high)}, "
        f"{number(found.n, 'picture')}), {found.images_per_second:.0f} pictures a second",
        f"  probabilities   {'' if calibrated else 'not calibrated; '}calibration error {found.ece:.3f}",
        f"  none of these   said of {percent(1 - found.coverage)} of the pictures; "
        f"of the others {right(found.accuracy_answered)} right",
    ]
    weak = sorted((row for row in found.per_class if row["n"]), key=lambda row: row["recall"])
    if most is not None:
        weak = [row for row in weak if row["recall"] < 1][:most]
    if weak:
        lines.append("  weakest classes" if most is not None else "  classes")
        lines += [f"    {row['label']}: {percent(row['recall'])} of {row['n']} found" for row in weak]
    wrong = round((1 - found.accuracy) * found.n)
    if found.mistakes:
        lines.append("  surest mistakes" + (f" of {wrong}" if wrong > len(found.mistakes[:most]) else ""))
    lines += [
        f"    {one['path']}: said {one['predicted']} ({percent(one['probability'])}), is {one['label']}"
        for one in found.mistakes[:most]
    ]
    return lines
