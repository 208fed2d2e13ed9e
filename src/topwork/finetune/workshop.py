"""The whole way of a fine-tune: the probe's pictures, what learns, the learning, and the judgement whether it helped."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from topwork.classifier import Classifier
from topwork.errors import InputError, UnknownName
from topwork.features.extract import Progress
from topwork.finetune import frozen as cold
from topwork.finetune.activations import Activations
from topwork.finetune.again import confirmed, from_all
from topwork.finetune.augment import Look
from topwork.finetune.checkpoints import identity_of, read_states, write_states
from topwork.finetune.comparing import Comparison
from topwork.finetune.cut import Behind
from topwork.finetune.depth import Depth, candidates, chosen_depth, price, try_depths
from topwork.finetune.ground import Ground
from topwork.finetune.job import Fresh, Job, Rows, Say, job_of
from topwork.finetune.learner import Learner
from topwork.finetune.loop import learn
from topwork.finetune.lora import adapt
from topwork.finetune.lower import precision_told
from topwork.finetune.outcome import Outcome, held_out, judged
from topwork.finetune.rates import Rates, find_rate
from topwork.finetune.reading import read
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.state import Epoch, State
from topwork.finetune.tricks import Tricks
from topwork.finetune.turning import turns_of
from topwork.fitting import joined
from topwork.heads.head import Head
from topwork.pictures.sources import Pictures, labelled_records
from topwork.process import keep_freed_memory


def finetune(
    classifier: Classifier,
    pictures: Pictures,
    *,
    test: Pictures = None,
    settings: FinetuneSettings | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
    told: Callable[[Epoch, int], None] | None = None,
    **changes: Any,
) -> Outcome:
    """The classifier with the last part of its network trained on, if that helped; else itself, with what was tried.

    pictures, test: as the classifier was fitted to; its own test pictures test again. checkpoint: a file to go on from after a
    kill, with `resume`. say: is told what is about to happen; told: each epoch. `changes` are settings or tricks by name:
    finetune(classifier, folder, unfreeze="4", rate=1e-4). Raises InputError, WeightsError, StorageError.
    """
    settings = settings_with(settings or FinetuneSettings(), changes)
    with contextlib.ExitStack() as stack:
        records = stack.enter_context(labelled_records(pictures))
        if test is not None:
            records = joined(records, stack.enter_context(labelled_records(test)))
        began = time.perf_counter()
        seen = read(classifier, records, settings.validation_share, settings.seed, progress)
        job = job_of(classifier, seen, settings, say or (lambda _: None), progress, began)
        return _finetuned(job, checkpoint, resume, told)


def settings_with(settings: FinetuneSettings, changes: dict[str, Any]) -> FinetuneSettings:
    """The settings with some of them, or of their tricks, changed by name. Raises UnknownName or InputError."""
    own = {field.name for field in fields(FinetuneSettings)}
    tricks = {field.name for field in fields(Tricks)}
    for name in changes:
        if name not in own | tricks:
            raise UnknownName("setting", name, own | tricks)
    chosen = replace(settings.tricks, **{name: value for name, value in changes.items() if name in tricks})
    return replace(settings, **{"tricks": chosen, **{name: value for name, value in changes.items() if name in own}})


def _finetuned(job: Job, checkpoint: Path | None, resume: bool, told: Callable[[Epoch, int], None] | None) -> Outcome:
    settings = job.settings
    identity = identity_of(
        {
            "settings": {**asdict(settings), "scratch_folder": None},
            "backbone": job.classifier.spec.fingerprint,
            "head": [float(np.abs(job.start.weight).sum()), job.start.view],
            "pictures": [job.seen.found.sha256[row] for row in job.rows],
            "labels": job.seen.labels[job.rows].tolist(),
            "engine": [job.classifier.engine.name, job.classifier.engine.precision],
        }
    )
    states: list[State] = []
    trial: Trial | None = None
    if resume:
        if checkpoint is None:
            raise InputError("resume: expected the checkpoint to go on from.")
        states, known = read_states(checkpoint, identity)
        job.reasons |= known["reasons"]
        job.say(f"goes on after epoch {states[-1].epochs} of {settings.tricks.epochs} at most")
    else:
        turns = _turns(job)
        unfreeze, trial = _unfreeze(job, Look(settings.tricks.augment, turns, settings.seed))
        trials = [] if trial is None else [one.to_config() for one in trial.depths]
        known = {"unfreeze": unfreeze, "turns": turns, "trials": trials, "reasons": dict(job.reasons)}
    look = Look(settings.tricks.augment, known["turns"], settings.seed)

    def kept(*now: State) -> None:
        if checkpoint is not None:
            write_states(checkpoint, now, identity, known)

    with _learning(job, known["unfreeze"], look, trial, tried=bool(known["trials"])) as (fresh, ground, data):
        began = time.perf_counter()
        model = fresh(job.start, job.seen.learn)
        state = learn(model, ground, settings.tricks, next(iter(states), None), kept, told)
        job.seconds["learning"] = time.perf_counter() - began
        began = time.perf_counter()
        candidate = held_out(job.classifier, job.seen, settings, job.backbone, model, state, job.start, job.reasons)
        job.seconds["judging"] = time.perf_counter() - began
        if "validation" in known:  # decided before it was killed
            candidate = replace(candidate, **known["decided"], validation=Comparison(**known["validation"]))
        elif state.whole and not settings.adversarial and not settings.force:
            began = time.perf_counter()
            folds = known.setdefault("folds", [])
            candidate = confirmed(job, candidate, fresh, ground, state, folds, lambda: kept(state))
            job.seconds["more folds"] = time.perf_counter() - began
        known |= {"validation": candidate.validation.to_config()}
        known |= {"decided": {"verdict": candidate.verdict, "told": candidate.told}}
        again: State | None = None
        wanted = settings.tricks.refit == "auto" and not settings.adversarial and (candidate.helped or settings.force)
        if wanted and state.whole and state.best_epoch > 0:
            began = time.perf_counter()
            past = next(iter(states[1:]), None)
            candidate, again = from_all(job, candidate, fresh, ground, state, past, lambda now: kept(state, now))
            job.seconds["learning again"] = time.perf_counter() - began
        job.seconds["views"] = data.seconds
        facts = {
            "unfreeze": known["unfreeze"],
            "first_block": next(iter(getattr(model.behind, "names", ())), None),
            "views": data.views,
            "scratch_bytes": data.scratch.size,
            "depths": known["trials"],
            "refit": None if again is None or not again.whole else {"pictures": len(job.rows), "epochs": again.epochs},
        }
    return judged(job.classifier, job.seen, settings, candidate, state, again, facts, job.reasons, job.seconds, job.say)


def _turns(job: Job) -> bool:
    wanted = job.settings.tricks.turns
    if wanted != "auto" or job.settings.tricks.augment == "none":
        return wanted == "yes"
    began = time.perf_counter()
    turns, job.reasons["turns"] = turns_of(job.classifier, job.seen, job.start)
    job.seconds["quarter turns"] = time.perf_counter() - began
    job.say(f"quarter turns: {job.reasons['turns']}")
    return turns


@dataclass(frozen=True, eq=False)
class Trial:
    """The depths that were tried, and their activations, for the run to go on with."""

    depths: list[Depth]
    data: Activations
    prefix: cold.Frozen


def _unfreeze(job: Job, look: Look) -> tuple[str, Trial | None]:
    """(head, all, or a number of blocks; the trial of depths), chosen where that is left to us."""
    wanted = job.settings.unfreeze
    hard = job.settings.adversarial
    cuts = cold.cuts_of(job.backbone)
    if wanted in ("head", "all") or (hard and wanted == "auto"):
        if wanted != "head" and not hasattr(job.backbone.network, "forward_head"):
            other = "Leave --adversarial out." if hard else "Use --unfreeze head."
            raise InputError(f"{job.classifier.spec.id}: only its head can learn here. {other}")
        if wanted == "auto":
            job.reasons["unfreeze"] = "all: an attack enters at the first layer"
            return "all", None
        job.reasons["unfreeze"] = f"{wanted}: as asked for"
        return wanted, None
    if not cuts:
        if wanted != "auto":
            raise InputError(
                f"{job.classifier.spec.id}: is no chain of blocks that could be cut. Use --unfreeze head or --unfreeze all."
            )
        job.reasons["unfreeze"] = "head: this network is no chain of blocks that could be cut"
        return "head", None
    if wanted != "auto":
        if int(wanted) > len(cuts):
            raise InputError(f"--unfreeze {wanted}: {job.classifier.spec.id} has {len(cuts)} blocks. Use that many, or all.")
        job.reasons["unfreeze"] = f"the last {wanted} blocks: as asked for"
        return wanted, None
    began = time.perf_counter()
    data, prefix = _before(job, _tried(cuts), look)
    job.say(f"tries how many blocks should learn: {', '.join(map(str, candidates(len(cuts))))}")
    try:
        head = functools.partial(job.layer, job.start, job.seen.learn)
        depths = try_depths(job.backbone, prefix, cuts, job.ground(data, ()), job.settings.tricks, head)
    except BaseException:
        data.scratch.close()
        raise
    depth, reason = chosen_depth(depths)
    job.seconds["trial of depths"] = time.perf_counter() - began
    seconds = price(depth, job.settings.tricks, len(job.seen.learn))
    job.reasons["unfreeze"] = f"{reason}; the trial took {job.seconds['trial of depths']:.0f} s"
    job.say(f"unfreeze: {job.reasons['unfreeze']}; all {job.settings.tricks.epochs} epochs would take about {seconds:.0f} s")
    return str(depth.blocks), Trial(depths, data, prefix)


def _tried(cuts: Sequence[str]) -> list[str]:
    return [cuts[blocks - 1] for blocks in candidates(len(cuts))]


def _before(job: Job, cuts: Sequence[str], look: Look) -> tuple[Activations, cold.Frozen]:
    """A place for what comes out of the network before `cuts`, and what makes it."""
    prefix = cold.freeze(job.backbone, cuts, job.classifier.engine, job.sample())
    return _activations(job, prefix, look), prefix


def _views(job: Job, look: Look) -> int:
    return 1 if look.augment == "none" and not look.turns else job.settings.tricks.views


def _activations(job: Job, prefix: cold.Frozen | None, look: Look) -> Activations:
    geometry = job.backbone.spec.geometry
    rows = job.seen.found.records.rows
    width = geometry.size**2 * 3 if prefix is None else prefix.width
    settings = job.settings
    data, told = cold.activations(
        [rows[row].path for row in job.rows],
        len(job.seen.learn) if settings.adversarial else len(job.rows),
        width,
        None if prefix is None else prefix.engine,
        geometry,
        look,
        _views(job, look),
        settings.scratch * 1e9,
        settings.scratch_folder,
    )
    data.progress = job.progress
    job.say(told)
    return data


@contextlib.contextmanager
def _learning(
    job: Job, unfreeze: str, look: Look, trial: Trial | None = None, tried: bool = False
) -> Iterator[tuple[Fresh, Ground, Activations]]:
    """(what learns, what it learns from, its activations); the scratch file is gone at the end.

    trial: whose activations are there already; tried: whether there was one, in this run or in the one that goes on.
    """
    tricks = job.settings.tricks
    folds = tricks.batch_norm == "frozen"
    began = time.perf_counter()
    begin: Callable[[], Behind | None]
    if unfreeze == "head":
        data = _activations(job, cold.Frozen(job.classifier.engine, None, job.classifier.spec.width), look)  # type: ignore[arg-type]
        begin = lambda: None  # noqa: E731
    elif unfreeze == "all" or job.settings.adversarial:
        # An attack changes the pictures anew at every step, so the whole network runs, whatever of it learns.
        cut = None if unfreeze == "all" else cold.cuts_of(job.backbone)[int(unfreeze) - 1]
        data = _activations(job, None, look)
        begin = functools.partial(cold.whole, job.backbone, cut, folds)
    else:
        cuts = cold.cuts_of(job.backbone)
        cut = cuts[int(unfreeze) - 1]
        # A resumed run makes its activations together with those of the other depths, as before: to the last bit the same.
        data, prefix = (trial.data, trial.prefix) if trial else _before(job, _tried(cuts) if tried else [cut], look)
        data.parts = prefix.prefix.columns(cut)
        begin = functools.partial(cold.behind, job.backbone, prefix, cut, tricks.precision, folds)

    def fresh(head: Head, rows: Rows) -> Learner:
        part = begin()
        if part is not None and tricks.lora:
            adapt(part, tricks.lora, job.settings.seed)
        return Learner(part, job.layer(head, rows))

    first = begin()
    names = () if first is None else tuple(f"behind.network.{name}." for name in first.names) or ("behind.network.",)
    data.layout = None if first is None else cold.layout_of(first)
    if tricks.mixing == "cutmix" and data.layout is None:
        raise InputError("--mixing cutmix: pastes a part of a map, and what learns here is fed none. Take mixup instead.")
    job.reasons["precision"] = precision_told(tricks.precision, first is not None and first.low, job.device)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    job.seconds["cut"] = time.perf_counter() - began
    try:
        yield fresh, job.ground(data, names), data
    finally:
        torch.set_flush_denormal(False)  # it holds for the whole process
        data.scratch.close()


def rates(
    classifier: Classifier,
    pictures: Pictures,
    *,
    test: Pictures = None,
    settings: FinetuneSettings,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Rates:
    """Which rate suits the part that would learn: see `topwork.finetune.rates`. With unfreeze auto, that of the last blocks.

    Raises InputError for adversarial settings: the rate is measured on pictures as they are.
    """
    if settings.adversarial:
        raise InputError("--find-rate: measures on pictures as they are. Leave --adversarial out.")
    with contextlib.ExitStack() as stack:
        records = stack.enter_context(labelled_records(pictures))
        if test is not None:
            records = joined(records, stack.enter_context(labelled_records(test)))
        began = time.perf_counter()
        seen = read(classifier, records, settings.validation_share, settings.seed, progress)
        job = job_of(classifier, seen, settings, say or (lambda _: None), progress, began)
        cuts = cold.cuts_of(job.backbone)
        unfreeze = settings.unfreeze
        if unfreeze == "auto":
            unfreeze = str(candidates(len(cuts))[0]) if cuts else "head"
        with _learning(job, unfreeze, Look("none", False, settings.seed)) as (fresh, ground, _):
            return find_rate(fresh(job.start, seen.learn), ground, settings.tricks)
