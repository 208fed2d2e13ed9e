"""The whole way of a fine-tune: the probe's pictures, what learns, the learning, and the judgement whether it helped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
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
from topwork.finetune.checkpoints import identity_of, read_state, write_state
from topwork.finetune.cut import Behind
from topwork.finetune.depth import EPOCHS, candidates, chosen_depth, price, try_depths
from topwork.finetune.learner import HeadLayer, Learner
from topwork.finetune.loop import Epoch, Ground, State, learn
from topwork.finetune.lora import adapt
from topwork.finetune.outcome import Outcome, judged
from topwork.finetune.rates import Rates, find_rate
from topwork.finetune.reading import Seen, probe_again, read
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.tricks import Tricks
from topwork.finetune.turning import turns_of
from topwork.fitting import joined, sample_of
from topwork.heads.designs import design
from topwork.heads.head import Head
from topwork.pictures.decode import Pixels
from topwork.pictures.sources import Pictures, labelled_records
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

    def head(self) -> HeadLayer:
        """A head as learning starts from it."""
        tricks, head = self.settings.tricks, self.start
        data = design(self.seen.found.table.subset(self.seen.learn), head.columns, head.transform)
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
    start = probe_again(classifier, seen, seen.learn, settings.seed).head
    assert isinstance(start, Head)  # noqa: S101 - only linear kinds are searched
    seconds["head to start from"] = time.perf_counter() - began
    return Job(classifier, seen, settings, backbone, start, say, progress, {}, seconds)


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
    state: State | None = None
    if resume:
        if checkpoint is None:
            raise InputError("resume: expected the checkpoint to go on from.")
        state, known = read_state(checkpoint, identity)
        job.reasons |= known["reasons"]
        job.say(f"goes on after epoch {state.epochs} of {settings.tricks.epochs} at most")
        unfreeze, turns, trials = known["unfreeze"], known["turns"], known["trials"]
    else:
        turns = _turns(job)
        unfreeze, trials = _unfreeze(job, Look(settings.tricks.augment, turns, settings.seed))
    look = Look(settings.tricks.augment, turns, settings.seed)
    known = {"unfreeze": unfreeze, "turns": turns, "trials": trials, "reasons": dict(job.reasons)}
    with _learning(job, unfreeze, look) as (model, ground):
        began = time.perf_counter()
        keep = None if checkpoint is None else (lambda now: write_state(checkpoint, now, identity, known))
        state = learn(model, ground, settings.tricks, state, keep, told)
        job.seconds["learning"] = time.perf_counter() - began
        data = ground.data
        job.seconds["views"] = sum(row.views_seconds for row in state.history)
        job.seconds["learning"] -= job.seconds["views"]
        facts = {
            "unfreeze": unfreeze,
            "first_block": next(iter(getattr(model.behind, "names", ())), None),
            "views": data.views,
            "scratch_bytes": data.scratch.size if isinstance(data, Activations) else 0,
            "depths": trials,
        }
    return judged(
        job.classifier, job.seen, settings, job.backbone, model, state, job.start, facts, job.reasons, job.seconds, job.say
    )


def _turns(job: Job) -> bool:
    wanted = job.settings.tricks.turns
    if wanted != "auto" or job.settings.tricks.augment == "none":
        return wanted == "yes"
    began = time.perf_counter()
    turns, job.reasons["turns"] = turns_of(job.classifier, job.seen, job.start)
    job.seconds["quarter turns"] = time.perf_counter() - began
    job.say(f"quarter turns: {job.reasons['turns']}")
    return turns


def _unfreeze(job: Job, look: Look) -> tuple[str, list[dict[str, Any]]]:
    """(head, all, or a number of blocks; the trials of depths), chosen where that is left to us."""
    wanted = job.settings.unfreeze
    hard = job.settings.adversarial
    cuts = cold.cuts_of(job.backbone)
    if wanted in ("head", "all") or (hard and wanted == "auto"):
        if wanted != "head" and not hasattr(job.backbone.network, "forward_head"):
            other = "Leave --adversarial out." if hard else "Use --unfreeze head."
            raise InputError(f"{job.classifier.spec.id}: only its head can learn here. {other}")
        if wanted == "auto":
            job.reasons["unfreeze"] = "all: an attack enters at the first layer"
            return "all", []
        job.reasons["unfreeze"] = f"{wanted}: as asked for"
        return wanted, []
    if not cuts:
        if wanted != "auto":
            raise InputError(
                f"{job.classifier.spec.id}: is no chain of blocks that could be cut. Use --unfreeze head or --unfreeze all."
            )
        job.reasons["unfreeze"] = "head: this network is no chain of blocks that could be cut"
        return "head", []
    if wanted != "auto":
        if int(wanted) > len(cuts):
            raise InputError(f"--unfreeze {wanted}: {job.classifier.spec.id} has {len(cuts)} blocks. Use that many, or all.")
        job.reasons["unfreeze"] = f"the last {wanted} blocks: as asked for"
        return wanted, []
    began = time.perf_counter()
    tried = [cuts[blocks - 1] for blocks in candidates(len(cuts))]
    prefix = cold.freeze(job.backbone, tried, job.classifier.engine, job.sample())
    data, _ = _activations(job, prefix, look, min(_views(job, look), EPOCHS), None)
    job.say(f"tries how many blocks should learn: {', '.join(map(str, candidates(len(cuts))))}")
    try:
        depths = try_depths(job.backbone, prefix, cuts, job.ground(data, ()), job.settings.tricks, job.head)
    finally:
        data.scratch.close()
    depth, reason = chosen_depth(depths)
    job.seconds["trial of depths"] = time.perf_counter() - began
    seconds = price(depth, data, job.settings.tricks, len(job.seen.learn))
    job.reasons["unfreeze"] = f"{reason}; the trial took {job.seconds['trial of depths']:.0f} s"
    job.say(f"unfreeze: {job.reasons['unfreeze']}; all {job.settings.tricks.epochs} epochs would take about {seconds:.0f} s")
    return str(depth.blocks), [one.to_config() for one in depths]


def _views(job: Job, look: Look) -> int:
    return 1 if look.augment == "none" and not look.turns else job.settings.tricks.views


def _activations(
    job: Job, prefix: cold.Frozen | None, look: Look, views: int, parts: list[tuple[int, int]] | None
) -> tuple[Activations, str]:
    geometry = job.backbone.spec.geometry
    rows = job.seen.found.records.rows
    width = geometry.size**2 * 3 if prefix is None else prefix.width
    settings = job.settings
    data, told = cold.activations(
        [rows[row].path for row in job.rows],
        len(job.seen.learn),
        width,
        None if prefix is None else prefix.engine,
        geometry,
        look,
        views,
        settings.scratch * 1e9,
        settings.scratch_folder,
        parts,
    )
    data.progress = job.progress
    return data, told


@contextlib.contextmanager
def _learning(job: Job, unfreeze: str, look: Look) -> Iterator[tuple[Learner, Ground]]:
    """(what learns, what it learns from); the scratch file is gone at the end."""
    tricks = job.settings.tricks
    views = _views(job, look)
    part: Behind | None = None
    began = time.perf_counter()
    if unfreeze == "head":
        whole = cold.Frozen(job.classifier.engine, None, job.classifier.spec.width)  # type: ignore[arg-type]
        data, told = _activations(job, whole, look, views, None)
    elif unfreeze == "all" or job.settings.adversarial:
        # An attack changes the pictures anew at every step, so the whole network runs, whatever of it learns.
        part = cold.whole(job.backbone, None if unfreeze == "all" else cold.cuts_of(job.backbone)[int(unfreeze) - 1])
        data, told = _activations(job, None, look, views, None)
    else:
        cut = cold.cuts_of(job.backbone)[int(unfreeze) - 1]
        prefix = cold.freeze(job.backbone, [cut], job.classifier.engine, job.sample())
        part = cold.behind(job.backbone, prefix, cut)
        data, told = _activations(job, prefix, look, views, prefix.prefix.columns(cut))
        data.layout = cold.layout_of(part)
    job.say(told)
    names = () if part is None else tuple(f"behind.network.{name}." for name in part.names) or ("behind.network.",)
    if part is not None and tricks.lora:
        adapt(part, tricks.lora, job.settings.seed)
    torch.set_flush_denormal(True)
    job.seconds["cut"] = time.perf_counter() - began
    try:
        yield Learner(part, job.head()), job.ground(data, names)
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
        with _learning(job, unfreeze, Look("none", False, settings.seed)) as (model, ground):
            return find_rate(model, ground, settings.tricks)
