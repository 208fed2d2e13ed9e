"""A folder of labelled photos attacked, batch by batch, each to its end: memory is bounded by a batch, and an interrupt keeps
what is finished.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from topwork.attack.attacked import Count
from topwork.attack.bench import EPSILONS, LENGTHS, RANDOM, Bench, BenchSettings, Row
from topwork.attack.controls import SAMPLE, Sample, run_controls
from topwork.attack.epsilon import LEVELS, ROUNDING, room, whole_levels
from topwork.attack.losses import Aim, Lead
from topwork.attack.minimal import FMN, Best, settled
from topwork.attack.norms import distances, each
from topwork.attack.opening import input_victim, photo_network
from topwork.attack.photos import Photos, TwoLooks, eight_bit, photo_pixels, photos_victim
from topwork.attack.recheck import Wanted
from topwork.attack.single import Through, save_png
from topwork.attack.subject import Subject
from topwork.attack.victim import BATCH, Network, Victim
from topwork.attack.which import attack_of
from topwork.errors import InputError
from topwork.pictures.decode import Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.pictures.records import Record, Records, read_records

PHOTO_VALUES = 12_000_000
"""Values of a batch attacked through files, its photos padded to one size: memory is some twenty times that, in bytes."""

LEAD = 1.0
"""Logits that a wrong answer leads by before a photo is left: so much other engines and rounding may take away."""

Progress = Callable[[int, int], None]


def attack_folder(subject: Subject, folder: str | Path, settings: BenchSettings, progress: Progress | None = None) -> Bench:
    """The curve of a folder with one folder per class, or a CSV.

    Raises InputError for classes the subject does not know, and where none of the pictures is right to begin with.
    """
    bench = attack_records(subject, read_records(folder), settings, progress)
    if not bench.rows and not bench.interrupted:
        if bench.showing_target:
            raise InputError(f"{folder}: all that are read rightly show {settings.target} already. Give another --target.")
        raise InputError(
            f"{folder}: none of {bench.asked} pictures is read rightly by {subject.name}, and only those count. "
            "Do the folders' names say what the pictures show?"
        )
    return bench


def attack_records(subject: Subject, given: Records, settings: BenchSettings, progress: Progress | None = None) -> Bench:
    """The curve of labelled pictures. Raises InputError for classes the subject does not know."""
    start = time.perf_counter()
    records, notes = _chosen(subject, given, settings)
    epsilons = settings.epsilons or (EPSILONS if settings.norm == "linf" else LENGTHS)
    if settings.through == "file" and settings.norm == "linf":
        epsilons = tuple(sorted({whole_levels(one) for one in epsilons} - {0.0}))
        if not epsilons:
            raise InputError("--through file: a file of 8 bits holds steps of 1/255. Give an epsilon of 1/255 or more.")
    attack = attack_of(settings.attack, settings.norm, settings.steps, settings.restarts, settings.seed)
    bench = Bench(subject.name, given.source, settings, epsilons, repr(attack), notes=notes)
    network = input_victim(subject) if settings.through == "input" else photo_network(subject)
    worker = _Worker(subject, network, bench)
    try:
        for batch in _batches(subject, records, settings.through, bench):
            worker.work(batch)
            if progress is not None:
                progress(bench.asked, len(records))
        if settings.controls and worker.sample is not None:
            main = input_victim(subject)
            bench.controls = run_controls(main, worker.sample, attack, epsilons, bench.curve()[1:], settings)
    except KeyboardInterrupt:
        bench.interrupted = True
    bench.seconds = time.perf_counter() - start
    return bench


def _chosen(subject: Subject, records: Records, settings: BenchSettings) -> tuple[Records, list[str]]:
    """The pictures to attack, labels as the subject names them, and what a person should know."""
    if any(row.split == "test" for row in records):
        records = records.of_split("test")
    names = {name: subject.known(name) for name in records.classes}
    unknown = [name for name, known in names.items() if known is None]
    if unknown:
        some = ", ".join(subject.classes[:8]) + (", ..." if len(subject.classes) > 8 else "")
        raise InputError(
            f"{records.source}: classes that {subject.name} does not know: {', '.join(unknown[:8])}"
            f"{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}. It knows {some}. "
            "Rename these folders, or leave them out."
        )
    if settings.target not in (None, RANDOM):
        subject.class_of(str(settings.target))
    notes = list(records.notes)
    rows = [Record(row.path, names[row.label or ""], row.split) for row in records]
    if len(rows) > settings.most:
        order = np.random.default_rng(settings.seed).permutation(len(rows))[: settings.most]
        notes.append(f"{settings.most} of {len(rows)} pictures were drawn (--most)")
        rows = [rows[place] for place in sorted(order)]
    return Records(tuple(rows), records.source, subject.classes), notes


@dataclass(eq=False)
class _Batch:
    records: list[Record]
    pixels: list[Pixels]
    """Through the input at the network's size; through files at their own."""


def _batches(subject: Subject, records: Records, through: Through, bench: Bench) -> Iterator[_Batch]:
    """Pictures that can be read, a batch at a time."""
    geometry = subject.spec.geometry
    batch, tall, wide = _Batch([], []), 0, 0
    for record in records:
        bench.asked += 1
        try:
            image = decode(read_bytes(record.path), record.path.name, geometry if through == "input" else None).image
        except BadPicture as bad:
            bench.broken.append({"path": str(record.path), "reason": bad.reason.value, "detail": bad.detail})
            continue
        pixels = to_pixels(image, geometry) if through == "input" else np.array(image)
        tall, wide = max(tall, pixels.shape[0]), max(wide, pixels.shape[1])
        padded = (len(batch.records) + 1) * 3 * tall * wide
        if batch.records and (len(batch.records) == BATCH or (through == "file" and padded > PHOTO_VALUES)):
            yield batch
            batch, tall, wide = _Batch([], []), pixels.shape[0], pixels.shape[1]
        batch.records.append(record)
        batch.pixels.append(pixels)
    if batch.records:
        yield batch


class _Worker:
    """Attacks batches and writes down what came of them."""

    def __init__(self, subject: Subject, network: Network | TwoLooks, bench: Bench) -> None:
        self.subject, self.network, self.bench = subject, network, bench
        self.places = {name: place for place, name in enumerate(subject.classes)}
        self.generator = torch.Generator().manual_seed(bench.settings.seed)
        self.sample: Sample | None = None

    def work(self, batch: _Batch) -> None:
        """All of one batch, to its end."""
        bench = self.bench
        answers = self.subject.answers([record.path for record in batch.records])
        wanted = [Wanted(record.label or "") for record in batch.records]
        likely = [not one.fooled(answer) and answer.error is None for one, answer in zip(wanted, answers, strict=True)]
        victim, points = self._victim(batch.pixels)
        labels = torch.tensor([self.places[record.label or ""] for record in batch.records])
        right = torch.tensor(likely) & (victim.exact(points).argmax(1) == labels)
        targets = self._targets(labels)
        misread, there = len(labels) - int(right.sum()), 0
        if targets is not None:
            there = int((right & (targets == labels)).sum())
            right &= targets != labels
        rows = right.nonzero().flatten()
        if len(rows):
            self._attack(batch, rows, victim, points, labels, targets)
        # Only now: an interrupt leaves out the whole batch, not only those that are right.
        bench.misread += misread
        bench.showing_target += there

    def _attack(
        self, batch: _Batch, rows: Tensor, victim: Victim, points: Tensor, labels: Tensor, targets: Tensor | None
    ) -> None:
        """The pictures `rows` of a batch, which are right to begin with."""
        records = [batch.records[row] for row in rows.tolist()]
        victim, points, labels = victim.at(rows), points[rows], labels[rows]
        targets = None if targets is None else targets[rows]
        self._note_sample(batch, rows, labels)
        found, at, count = self._curve(victim, points, labels, targets, records)
        found, near = self._smallest(victim, points, labels, targets, found, at, count)
        for epsilon in self.bench.epsilons:  # what was found since may lie within a smaller one
            at = torch.where(near <= epsilon + ROUNDING, at.clamp_max(epsilon), at)
        final = victim.exact(found).argmax(1)
        for place, record in enumerate(records):
            done = bool(near[place].isfinite())
            self.bench.rows.append(
                Row(
                    str(record.path),
                    record.label or "",
                    self.subject.classes[int(final[place])] if done else None,
                    float(near[place]) if done else None,
                    float(at[place]) if at[place].isfinite() else None,
                    int(count.queries[place]),
                    int(count.gradients[place]),
                )
            )

    def _victim(self, pixels: list[Pixels]) -> tuple[Victim, Tensor]:
        if self.bench.settings.through == "file":
            return photos_victim(self.network, pixels, self.subject.spec.geometry)
        assert isinstance(self.network, Network)  # noqa: S101 - for the type checker: only photos want two looks
        return self.network, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / LEVELS

    def _targets(self, labels: Tensor) -> Tensor | None:
        target, classes = self.bench.settings.target, len(self.places)
        if target is None:
            return None
        if target != RANDOM:
            return torch.full_like(labels, self.places[self.subject.class_of(target)])
        return (labels + torch.randint(1, classes, labels.shape, generator=self.generator)) % classes

    def _note_sample(self, batch: _Batch, rows: Tensor, labels: Tensor) -> None:
        if self.sample is not None and len(self.sample.labels) >= SAMPLE:
            return
        geometry = self.subject.spec.geometry
        pixels = [batch.pixels[row] for row in rows.tolist()][:SAMPLE]
        if self.bench.settings.through == "file":
            from PIL import Image

            pixels = [to_pixels(Image.fromarray(one), geometry) for one in pixels]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / LEVELS
        before = self.sample
        self.sample = Sample(
            images if before is None else torch.cat([before.images, images])[:SAMPLE],
            labels[: len(pixels)] if before is None else torch.cat([before.labels, labels[: len(pixels)]])[:SAMPLE],
        )

    def _curve(
        self, victim: Victim, points: Tensor, labels: Tensor, targets: Tensor | None, records: Sequence[Record]
    ) -> tuple[Tensor, Tensor, Count]:
        """(fooling pictures, the epsilon (n,) of the curve that they needed, infinite where none did, work done)."""
        settings = self.bench.settings
        attack = attack_of(
            settings.attack,
            settings.norm,
            settings.steps,
            settings.restarts,
            settings.seed,
            lead=LEAD * (settings.through == "file"),
        )
        count, found = Count.none(len(points)), points.clone()
        at = torch.full((len(points),), torch.inf, dtype=torch.float64)  # in float32 8/255 lies above 8/255
        for epsilon in sorted(self.bench.epsilons):
            todo = at.isinf().nonzero().flatten()
            if not len(todo):
                break
            some, goals = victim.at(todo), None if targets is None else targets[todo]
            reach = room(epsilon, points[0].numel(), settings.norm) if isinstance(some, Photos) else epsilon
            one = attack(some, points[todo], labels[todo], [reach], goals)
            count.queries[todo] += one.queries[0]
            count.gradients[todo] += one.gradients[0]
            done = one.success[0]
            if isinstance(some, Photos):
                done &= distances(eight_bit(one.images[0]), points[todo], settings.norm) <= epsilon + ROUNDING
                done = self._confirmed(some, one.images[0], done, [records[row] for row in todo.tolist()], goals)
            found[todo[done]] = one.images[0][done]
            at[todo[done]] = epsilon
        return found, at, count

    def _confirmed(
        self, victim: Photos, images: Tensor, done: Tensor, records: Sequence[Record], targets: Tensor | None
    ) -> Tensor:
        """bool (n,): of the pictures that fool torch, those whose saved PNG fools `topwork predict`."""
        rows = done.nonzero().flatten().tolist()
        kept = done.clone()
        if not rows:
            return kept
        pixels = photo_pixels(images[done], [victim.sizes[row] for row in rows])
        with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
            files = [Path(folder) / f"{row:06d}.png" for row in rows]
            for one, file in zip(pixels, files, strict=True):
                save_png(one, file)
            answers = self.subject.answers(files)
        for row, answer in zip(rows, answers, strict=True):
            target = None if targets is None else self.subject.classes[int(targets[row])]
            kept[row] = Wanted(records[row].label or "", target).fooled(answer)
        return kept

    def _smallest(
        self, victim: Victim, points: Tensor, labels: Tensor, targets: Tensor | None, found: Tensor, at: Tensor, count: Count
    ) -> tuple[Tensor, Tensor]:
        """(pictures, the smallest change (n,) found that fools, infinite where none did): of photos as they are saved, else
        shortened along its line.
        """
        norm, loss = self.bench.settings.norm, Lead(Aim(labels, targets))
        if isinstance(victim, Photos):
            found = eight_bit(found)
            return found, torch.where(at.isfinite(), distances(found, points, norm), torch.inf)
        best = Best(found, torch.where(at.isfinite(), distances(found, points, norm), torch.inf))
        if self.bench.settings.smallest:
            one = FMN(norm)(victim, points, labels, [1e9], targets)
            count.queries += one.queries[0]
            count.gradients += one.gradients[0]
            best.note(one.images[0], one.success[0], one.distances[0])
        shorter, fooled = settled(victim, points, best, loss, count)
        near = torch.where(fooled, distances(shorter, points, norm), torch.inf)
        nearer = near < best.distance
        return torch.where(each(nearer, shorter), shorter, best.images), torch.minimum(near, best.distance)
