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
from numpy.typing import NDArray

from topwork.classifier import Classifier
from topwork.errors import InputError, UnknownName, WeightsError
from topwork.features.engines import cuda_available
from topwork.features.extract import Progress
from topwork.finetune import frozen as cold
from topwork.finetune.activations import Activations
from topwork.finetune.adversarial import hardening
from topwork.finetune.augment import Look
from topwork.finetune.checkpoints import identity_of, read_states, write_states
from topwork.finetune.comparing import Comparison
from topwork.finetune.cut import Behind
from topwork.finetune.depth import Depth, candidates, chosen_depth, price, try_depths
from topwork.finetune.learner import HeadLayer, Learner
from topwork.finetune.loop import Epoch, Ground, State, learn, learn_again
from topwork.finetune.lora import adapt
from topwork.finetune.outcome import Candidate, Outcome, fold_logits, held_out, judged, refitted
from topwork.finetune.rates import Rates, find_rate
from topwork.finetune.reading import Seen, features_of, probe_again, read
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.tricks import Tricks
from topwork.finetune.turning import turns_of
from topwork.fitting import joined, sample_of
from topwork.heads.designs import design
from topwork.heads.head import Head
from topwork.pictures.decode import Pixels
from topwork.pictures.sources import Pictures, labelled_records
from topwork.pictures.splits import grouped_folds
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]
Say = Callable[[str], None]


@dataclass
class Job:
    """What all steps share."""

    classifier: Classifier
    seen: Seen
    settings: FinetuneSettings
    backbone: Backbone
    start: Head
    """The probe's recipe, fitted without the validation pictures."""
    say: Say
    progress: Progress | None
    reasons: dict[str, str]
    seconds: dict[str, float]

    @property
    def rows(self) -> Rows:
        """Rows of the table that are learned from, then those that choose."""
        return np.concatenate([self.seen.learn, self.seen.validation])

    @property
    def device(self) -> str:
        """cpu or cuda."""
        wanted = self.settings.device
        return "cuda" if wanted == "cuda" or (wanted == "auto" and cuda_available()) else "cpu"

    def sample(self) -> list[Pixels]:
        """A few of the pictures at the network's size."""
        return sample_of(self.seen.found.records)(self.backbone.spec.geometry)

    def layer(self, head: Head, rows: Rows) -> HeadLayer:
        """A head as learning starts from it, from one that was fitted to `rows`."""
        tricks = self.settings.tricks
        data = design(self.seen.found.table.subset(rows), head.columns, head.transform)
        layer = HeadLayer(data, len(self.classifier.classes), tricks.dropout)
        if tricks.head_start == "probe":
            warm = np.float32(1 / head.temperature)
            layer.start_from(replace(head, weight=head.weight * warm, bias=head.bias * warm))
        else:
            layer.start_by(tricks.head_start, self.settings.seed)
        return layer

    def ground(self, data: Any, blocks: tuple[str, ...]) -> Ground:
        """Pictures 0.. are those learned from, behind them those that choose."""
        learn_count, all_count = len(self.seen.learn), len(self.rows)
        labels = self.seen.labels[self.rows]
        return Ground(
            data,
            labels,
            np.arange(learn_count),
            np.arange(learn_count, all_count),
            len(self.classifier.classes),
            self.settings.seed,
            self.device,
            blocks,
            not self.settings.force,
            hardening(self.settings, self.backbone.spec.geometry.size) if self.settings.adversarial else None,
        )


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
        job = _job(classifier, seen, settings, say or (lambda _: None), progress, began)
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


def _job(
    classifier: Classifier, seen: Seen, settings: FinetuneSettings, say: Say, progress: Progress | None, began: float
) -> Job:
    seconds = {"pictures": time.perf_counter() - began}
    began = time.perf_counter()
    if "backbone.safetensors" not in classifier.parts:
        raise WeightsError(f"{classifier.spec.id}: the bundle holds no backbone to train on. Fit again without --slim.")
    backbone = load_backbone(classifier.spec.id, str(classifier.parts["backbone.safetensors"]))
    start = _probe(classifier, seen, seen.learn, settings.seed)
    seconds["head to start from"] = time.perf_counter() - began
    return Job(classifier, seen, settings, backbone, start, say, progress, {}, seconds)


def _probe(classifier: Classifier, seen: Seen, rows: Rows, seed: int) -> Head:
    """The classifier's recipe for a head, fitted to some rows."""
    head = probe_again(classifier, seen, rows, seed).head
    assert isinstance(head, Head)  # noqa: S101 - only linear kinds are searched
    return head


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
        unfreeze, turns, trials = known["unfreeze"], known["turns"], known["trials"]
    else:
        turns = _turns(job)
        unfreeze, trial = _unfreeze(job, Look(settings.tricks.augment, turns, settings.seed))
        trials = [] if trial is None else [one.to_config() for one in trial.depths]
    look = Look(settings.tricks.augment, turns, settings.seed)
    known = {"unfreeze": unfreeze, "turns": turns, "trials": trials, "reasons": dict(job.reasons)}

    def kept(*now: State) -> None:
        if checkpoint is not None:
            write_states(checkpoint, now, identity, known)

    with _learning(job, unfreeze, look, trial, tried=bool(trials)) as (fresh, ground, data):
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
            candidate = _confirmed(job, candidate, fresh, ground, state)
            job.seconds["more folds"] = time.perf_counter() - began
        known |= {"validation": candidate.validation.to_config()}
        known |= {"decided": {"verdict": candidate.verdict, "told": candidate.told}}
        again: State | None = None
        if _refit(job, state, candidate):
            began = time.perf_counter()
            seconds = sum(row.seconds for row in state.history[1:]) * len(job.rows) / len(job.seen.learn)
            job.say(f"learns again from all {len(job.rows):,} pictures, about {seconds:.0f} s")
            model = fresh(_probe(job.classifier, job.seen, job.rows, settings.seed), job.rows)
            every, past = np.arange(len(job.rows)), next(iter(states[1:]), None)
            again = learn_again(model, ground, settings.tricks, state, every, past, lambda now: kept(state, now))
            if again.whole:
                candidate = refitted(candidate, job.classifier, job.seen, settings, job.backbone, model)
            job.seconds["learning again"] = time.perf_counter() - began
        job.seconds["views"] = data.seconds
        facts = {
            "unfreeze": unfreeze,
            "first_block": next(iter(getattr(model.behind, "names", ())), None),
            "views": data.views,
            "scratch_bytes": data.scratch.size,
            "depths": trials,
            "refit": None if again is None or not again.whole else {"pictures": len(job.rows), "epochs": again.epochs},
        }
    return judged(job.classifier, job.seen, settings, candidate, state, again, facts, job.reasons, job.seconds, job.say)


def _confirmed(job: Job, candidate: Candidate, fresh: Fresh, ground: Ground, state: State) -> Candidate:
    """The candidate after as many more folds as its verdict is in doubt: each learns from the others as `state` did."""
    settings, seen = job.settings, job.seen
    rows = job.rows
    for fold in _folds(job):
        if candidate.verdict != "doubt":
            break
        seconds = sum(row.seconds for row in state.history[1:])
        job.say(
            f"in doubt after {candidate.validation.n:,} validation pictures ({candidate.validation.before:.1%} right became "
            f"{candidate.validation.after:.1%}): learns once more with others held out, about {seconds:.0f} s"
        )
        train = np.setdiff1d(np.arange(len(rows)), fold)
        head = _probe(job.classifier, seen, rows[train], settings.seed)
        model = fresh(head, rows[train])
        end = learn_again(model, ground, settings.tricks, state, train)
        if not end.whole:
            state.interrupted, state.fault = end.interrupted, end.fault
            return candidate
        table = features_of(job.classifier, seen, rows[fold])
        before = head.logits(table.read(0, len(table)))
        after = fold_logits(job.classifier, seen, settings, job.backbone, model, rows[fold])
        candidate = candidate.with_fold(before, after, seen.labels[rows[fold]], settings.folds)
    return candidate


def _folds(job: Job) -> Iterator[Rows]:
    """Places of the pictures that are held out after the validation pictures: parts as large, all copies of one together."""
    seen = job.seen
    parts = max(round(len(seen.learn) / len(seen.validation)), 2)
    fold = grouped_folds(seen.labels[seen.learn], seen.copies.groups[seen.learn], parts, job.settings.seed)
    for part in range(min(parts, job.settings.folds - 1)):
        yield np.flatnonzero(fold == part)


def _refit(job: Job, state: State, candidate: Candidate) -> bool:
    """Whether to learn again from all pictures."""
    settings = job.settings
    wanted = settings.tricks.refit == "auto" and not settings.adversarial and (candidate.helped or settings.force)
    return wanted and state.whole and state.best_epoch > 0


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


Fresh = Callable[[Head, Rows], Learner]
"""(head, rows that it was fitted to) -> what learns, as it was before anything was learned."""


@contextlib.contextmanager
def _learning(
    job: Job, unfreeze: str, look: Look, trial: Trial | None = None, tried: bool = False
) -> Iterator[tuple[Fresh, Ground, Activations]]:
    """(what learns, what it learns from, its activations); the scratch file is gone at the end.

    trial: whose activations are there already; tried: whether there was one, in this run or in the one that goes on.
    """
    tricks = job.settings.tricks
    began = time.perf_counter()
    begin: Callable[[], Behind | None]
    if unfreeze == "head":
        data = _activations(job, cold.Frozen(job.classifier.engine, None, job.classifier.spec.width), look)  # type: ignore[arg-type]
        begin = lambda: None  # noqa: E731
    elif unfreeze == "all" or job.settings.adversarial:
        # An attack changes the pictures anew at every step, so the whole network runs, whatever of it learns.
        cut = None if unfreeze == "all" else cold.cuts_of(job.backbone)[int(unfreeze) - 1]
        data = _activations(job, None, look)
        begin = functools.partial(cold.whole, job.backbone, cut)
    else:
        cuts = cold.cuts_of(job.backbone)
        cut = cuts[int(unfreeze) - 1]
        # A resumed run makes its activations together with those of the other depths, as before: to the last bit the same.
        data, prefix = (trial.data, trial.prefix) if trial else _before(job, _tried(cuts) if tried else [cut], look)
        data.parts = prefix.prefix.columns(cut)
        begin = functools.partial(cold.behind, job.backbone, prefix, cut)

    def fresh(head: Head, rows: Rows) -> Learner:
        part = begin()
        if part is not None and tricks.lora:
            adapt(part, tricks.lora, job.settings.seed)
        return Learner(part, job.layer(head, rows))

    first = begin()
    names = () if first is None else tuple(f"behind.network.{name}." for name in first.names) or ("behind.network.",)
    data.layout = None if first is None else cold.layout_of(first)
    torch.set_flush_denormal(True)
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
        job = _job(classifier, seen, settings, say or (lambda _: None), progress, began)
        cuts = cold.cuts_of(job.backbone)
        unfreeze = settings.unfreeze
        if unfreeze == "auto":
            unfreeze = str(candidates(len(cuts))[0]) if cuts else "head"
        with _learning(job, unfreeze, Look("none", False, settings.seed)) as (fresh, ground, _):
            return find_rate(fresh(job.start, seen.learn), ground, settings.tricks)
