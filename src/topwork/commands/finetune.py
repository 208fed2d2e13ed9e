"""finetune, tricks."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from topwork.commands.common import (
    EXIT_INTERRUPTED,
    EXIT_PARTIAL,
    Backbone,
    Device,
    Json,
    Offline,
    Out,
    Quiet,
    Seed,
    Switch,
    Verbose,
    Weights,
    check_figure,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
    warn,
)
from topwork.errors import InputError
from topwork.finetune.tricks import Tricks
from topwork.process import wait_briefly

if TYPE_CHECKING:
    from topwork.classifier import Classifier
    from topwork.finetune.outcome import Outcome
    from topwork.finetune.state import Epoch


def finetune(
    bundle: Path,
    pictures: str,
    /,
    *,
    out: Out,
    test: str | None = None,
    unfreeze: str = "auto",
    tricks: Annotated[Tricks, Parameter(name="*")] = Tricks(),  # noqa: B008 - frozen
    new_head: Switch = False,
    resume: Switch = False,
    force: Switch = False,
    adversarial: Switch = False,
    epsilon: str | None = None,
    attack_steps: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    robustness: Annotated[Path | None, Parameter(name="--robustness")] = None,
    find_rate: Annotated[Path | None, Parameter(name="--find-rate")] = None,
    curves: Path | None = None,
    tensorboard: Path | None = None,
    folds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=5))] = 5,
    scratch: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 4.0,
    scratch_folder: Path | None = None,
    device: Device = "auto",
    seed: Seed = 0,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train the last part of a classifier's network on, keep it if that helped, and write a new bundle.

    Parameters
    ----------
    bundle
        A bundle made by topwork fit.
    pictures
        The labelled pictures it was fitted to; its own test pictures test again.
    out
        The bundle to write, NAME.topwork; an older bundle of that name is replaced.
    test
        Labelled pictures for the test, where the folder holds none.
    unfreeze
        What learns: head, a number of blocks counted from the head, all, or auto: short runs of a few decide; with
        --adversarial auto is all.
    new_head
        Fit a new head for the classes of this folder first, on the bundle's network.
    resume
        Go on with a run that was killed or interrupted.
    force
        Take the fine-tuned network even where it is not better than the one before.
    adversarial
        Learn from pictures that are attacked at every step, so that it takes more to fool the new network. It usually gets
        somewhat fewer untouched pictures right; both accuracies are told, and the new network is taken unless it withstands
        no more. Every step passes the whole network, so an epoch takes several times as long.
    epsilon
        With --adversarial: the largest change of a value, as a share of full brightness: 4/255 (the default), or 0.02.
    attack_steps
        With --adversarial: steps of each attack. 1 (the default) from a random start is fast; more are stronger and slower.
    robustness
        With --adversarial: draw the accuracy under attack, before and after, into this file (.png, .svg or .pdf).
    find_rate
        Only measure which rate suits, and draw it into this file (.png); no bundle is written. With --unfreeze auto it is that
        of the last block.
    curves
        Write the learning curves to this file, one JSON document a line.
    tensorboard
        Write the learning curves for TensorBoard into this folder.
    folds
        Times at most that learning is judged, each time on other pictures held out, while it may have helped by chance alone.
    scratch
        Gigabytes of disk for activations while it learns, at most; they are removed at the end. Where they are too few for all
        views, fewer are made.
    scratch_folder
        Where. Without it, in the cache folder.
    seed
        Draws validation pictures, views, order and dropout.
    verbose
        Tell the reason of every choice and the seconds of each step.
    """
    start = time.perf_counter()
    wait_briefly()
    from topwork.bundle import check_place
    from topwork.classifier import Classifier
    from topwork.finetune.settings import FinetuneSettings

    hard = _hardness(adversarial, epsilon, attack_steps, robustness)
    disk: dict[str, Any] = {"scratch": scratch, "scratch_folder": scratch_folder}
    settings = FinetuneSettings(unfreeze, tricks, folds=folds, device=device, force=force, seed=seed, **disk, **hard)
    check_place(out)
    for figure in filter(None, (find_rate, robustness)):
        check_figure(figure)
    stay_offline(offline)
    classifier = Classifier.load(bundle)
    tell = (lambda line: None) if quiet else warn
    with progress_bar("pictures", quiet) as progress:
        if new_head:
            classifier = _new_head(classifier, pictures, test, seed, progress)
        if find_rate is not None:
            return _rate(classifier, pictures, test, settings, find_rate, json_, progress, tell)
        from topwork.finetune.workshop import finetune as tune

        unfinished = out.with_name(f"{out.name}.unfinished")
        with _writers(curves, tensorboard, tell, "attacked validation" if adversarial else "validation") as told:
            outcome = tune(
                classifier,
                pictures,
                test=test,
                settings=settings,
                checkpoint=unfinished,
                resume=resume,
                progress=progress,
                say=tell,
                told=told,
            )
    sha256 = outcome.classifier.save(out)
    if robustness is not None:
        from topwork.attack.figures import robustness_figure

        robustness_figure(outcome.classifier.facts["finetune"]["robustness"], robustness)
    if not outcome.interrupted and outcome.fault is None:
        unfinished.unlink(missing_ok=True)
    result = _document(out, sha256, outcome, robustness, time.perf_counter() - start)
    say(result, _text(result, outcome), json_)
    if verbose:
        facts = outcome.classifier.facts["finetune"]
        warn(*[f"{what}: {reason}" for what, reason in facts["reasons"].items()])
        warn(*[f"{step}: {seconds:.2f} s" for step, seconds in facts["seconds"].items()])
    if outcome.fault is not None:
        warn(f"topwork: {outcome.fault} The best of {number(result['epochs'], 'epoch')} was kept; go on with --resume.")
        return 1
    if outcome.interrupted:
        warn(f"topwork: interrupted after {number(result['epochs'], 'epoch')}; the best so far was kept; go on with --resume")
        return EXIT_INTERRUPTED
    return EXIT_PARTIAL if result["broken"] else 0


def _hardness(adversarial: bool, epsilon: str | None, steps: int | None, figure: Path | None) -> dict[str, Any]:
    """The settings of adversarial training. Raises InputError for one of its flags without it."""
    from topwork.attack.epsilon import read_epsilon

    given = {"--epsilon": epsilon, "--attack-steps": steps, "--robustness": figure}
    alone = [name for name, value in given.items() if value is not None]
    if alone and not adversarial:
        raise InputError(f"{', '.join(alone)}: only with --adversarial.")
    found: dict[str, Any] = {"adversarial": adversarial}
    if epsilon is not None:
        found["epsilon"] = read_epsilon(epsilon)
    if steps is not None:
        found["attack_steps"] = steps
    return found


def _new_head(classifier: Classifier, pictures: str, test: str | None, seed: int, progress: Any) -> Classifier:
    from topwork.finetune.reading import fair
    from topwork.fitting import fit

    weights = str(classifier.parts["backbone.safetensors"]) if "backbone.safetensors" in classifier.parts else "pretrained"
    how: dict[str, Any] = {"backbone": classifier.spec.id, "weights": weights, "engine": classifier.engine.name, "seed": seed}
    return fair(classifier, fit(pictures, test=test, progress=progress, **how))


@contextlib.contextmanager
def _writers(
    curves: Path | None, tensorboard: Path | None, tell: Callable[[str], None], judge: str
) -> Iterator[Callable[[Epoch, int], None]]:
    """What is called after each epoch: tells it, and writes the curves where they are wanted."""
    from dataclasses import asdict

    from topwork.finetune.curves import tensorboard_writer

    lines: list[str] = []
    board = None if tensorboard is None else tensorboard_writer(tensorboard)

    def told(epoch: Epoch, most: int) -> None:
        row = asdict(epoch)
        learned = "" if epoch.train_loss is None else f"training loss {epoch.train_loss:.3f}, "
        tell(
            f"epoch {epoch.epoch} of {most}: {learned}{judge} loss {epoch.loss:.3f}, {percent(epoch.accuracy)} right, "
            f"{epoch.seconds + epoch.views_seconds:.1f} s"
        )
        lines.append(json.dumps(row))
        if curves is not None:
            from topwork.runtime import publish_file

            publish_file(curves, ("\n".join(lines) + "\n").encode())
        if board is not None:
            board.write(row)

    try:
        yield told
    finally:
        if board is not None:
            board.close()


def _document(out: Path, sha256: str, outcome: Outcome, figure: Path | None, seconds: float) -> dict[str, Any]:
    facts = outcome.classifier.facts["finetune"]
    return {
        "bundle": str(out),
        "report": str(out / "report.html"),
        "sha256": sha256,
        "helped": outcome.helped,
        "taken": outcome.taken,
        "sentence": outcome.sentence,
        "test": outcome.test.to_config(),
        "validation": outcome.validation.to_config(),
        "robustness": facts.get("robustness"),
        "figure": None if figure is None else str(figure),
        "unfreeze": facts["unfreeze"],
        "depths": facts["depths"],
        "epochs": facts["epochs"],
        "best_epoch": facts["best_epoch"],
        "share": facts["share"],
        "refit": facts["refit"],
        "views": facts["views"],
        "scratch_bytes": facts["scratch_bytes"],
        "history": facts["history"],
        "reasons": facts["reasons"],
        "seconds_by_step": facts["seconds"],
        "seconds": round(seconds, 3),
        "broken": facts["broken"],
    }


def _text(result: dict[str, Any], outcome: Outcome) -> list[str]:
    kept = "the fine-tuned network" if outcome.taken else "the network as it was; --force takes the fine-tuned one"
    depth = result["unfreeze"]
    return [
        f"{result['bundle']}: {result['sentence']}",
        *(_under_attack(result["robustness"]) if result["robustness"] else []),
        f"  kept            {kept}",
        f"  because         {result['reasons']['fine-tuned']}",
        f"  learned         {number(int(depth), 'block') if depth.isdigit() else depth}",
        f"  epochs          {result['epochs']}, "
        + (f"the best was number {result['best_epoch']}" if result["best_epoch"] else "none better than the start")
        + (f"; kept are weights {percent(result['share'])} of the way there" if result["share"] < 1 and outcome.taken else ""),
        *_refit(result["refit"]),
        f"  seconds         {result['seconds']:.0f}",
        f"  report          {result['report']}",
        *([f"  figure          {result['figure']}"] if result["figure"] else []),
    ]


def _refit(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    times = "once" if found["epochs"] == 1 else f"{found['epochs']} times"
    return [f"  learned again   from all {number(found['pictures'], 'picture')}, those that chose too, {times}"]


def _under_attack(found: dict[str, Any]) -> list[str]:
    from topwork.attack.epsilon import told

    lines = []
    for before, after in zip(found["before"][1:], found["after"][1:], strict=True):
        shares = f"{percent(before['accuracy']):>7} to {percent(after['accuracy']):>7} right"
        lines.append(f"  at {told(before['epsilon']):<13}{shares}")
    lines += [f"  WARNING         {one['name']}: {one['measured']}" for one in found["controls"] if not one["passed"]]
    return lines


def _rate(
    classifier: Classifier,
    pictures: str,
    test: str | None,
    settings: Any,
    file: Path,
    json_: bool,
    progress: Any,
    tell: Callable[[str], None],
) -> int:
    from topwork.finetune.rates import draw_rates
    from topwork.finetune.workshop import rates

    found = rates(classifier, pictures, test=test, settings=settings, progress=progress, say=tell)
    draw_rates(found, file)
    document = {"suggested_rate": found.suggested, "rates": found.rates, "losses": found.losses, "figure": str(file)}
    say(document, [f"{file}: a rate of {found.suggested:.1g} suits: a third of that of the least loss"], json_)
    return 0


def tricks(
    pictures: str,
    /,
    *,
    out: Out,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    seeds: Annotated[int, Parameter(validator=validators.Number(gte=2, lte=10))] = 5,
    most: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1_200,
    seed: Seed = 0,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Try out the training tricks on your own pictures, one at a time, against one base recipe.

    A small network learns from stored activations of a pretrained one, so that hundreds of runs take minutes.

    Of thirty tricks that bring nothing, one or two look clear by chance: what is called clear is adjusted for their number.

    Parameters
    ----------
    pictures
        A folder with one folder per class, or a CSV with path,label[,split]; a test part of it is left out.
    out
        The folder for the table (tricks.json) and the figures: tricks.png, spread.png, optimisers.png.
    seeds
        Runs of every trick, each with its own split and start. The time grows with them, and smaller differences are seen.
    most
        Of a folder with more pictures, so many are drawn, as many of each class as can be, five at least.
    seed
        The first seed; also draws the pictures.
    """
    wait_briefly()
    from topwork.runtime import make_folder, publish_file
    from topwork.tricks.experiment import try_tricks
    from topwork.tricks.figures import write_figures
    from topwork.tricks.words import adjustment, lines_of

    stay_offline(offline)
    make_folder(out)
    with progress_bar("pictures", quiet) as progress:
        found = try_tricks(
            pictures,
            backbone=backbone,
            weights=weights,
            seeds=seeds,
            most=most,
            seed=seed,
            progress=progress,
            told=None if quiet else lambda row: warn(f"{row.name}: {percent(row.accuracy)} right"),
        )
    clear = any(row.verdict in ("better", "worse") for row in found.results)
    document = {**found.to_config(), "figures": [str(file) for file in write_figures(found, out)]}
    publish_file(out / "tricks.json", json.dumps(document, indent=1).encode())
    say(
        document,
        [
            *lines_of(found.results),
            f"{found.verdict} ({adjustment(found.comparisons, found.seeds)})",
            *([] if clear or seeds == 10 else ["more --seeds show smaller differences"]),
            f"{number(found.pictures, 'picture')}, {number(found.seeds, 'seed')}, {found.seconds:.0f} s; "
            f"learned from {found.features}",
            f"figures: {', '.join(document['figures'])}",
        ],
        json_,
    )
    warn(*found.warnings)
    return 0
