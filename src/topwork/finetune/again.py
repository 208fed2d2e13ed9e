"""Learning again: with other pictures held out while it may have helped by chance, and from all pictures once it has helped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from topwork.errors import StorageError
from topwork.finetune.ground import Ground
from topwork.finetune.job import Fresh, Job
from topwork.finetune.loop import learn_again
from topwork.finetune.outcome import Candidate, fold_logits, refitted
from topwork.finetune.reading import features_of
from topwork.finetune.state import State
from topwork.pictures.splits import grouped_folds

Rows = NDArray[np.int64]
Answers = tuple[list[list[float]], list[list[float]]]
"""Logits (n, K) of a probe and of a learned network, as a checkpoint holds them."""


def confirmed(
    job: Job,
    candidate: Candidate,
    fresh: Fresh,
    ground: Ground,
    state: State,
    past: list[Answers],
    keep: Callable[[], None],
) -> Candidate:
    """The candidate after as many more folds as its verdict is in doubt: each learns from the others as `state` did.

    past: what the folds of a run that was ended answered; each new fold's answers are put there, and `keep` is called.
    """
    for number, fold in enumerate(folds_of(job)):
        if candidate.verdict != "doubt":
            break
        if number == len(past):
            seconds = sum(row.seconds for row in state.history[1:])
            seen = candidate.validation
            job.say(
                f"in doubt after {seen.n:,} validation pictures ({seen.before:.1%} right became {seen.after:.1%}): "
                f"learns once more with others held out, about {seconds:.0f} s"
            )
            answers = _answers(job, fresh, ground, state, fold)
            if answers is None:
                return candidate
            past.append(answers)
            keep()
        before, after = (np.array(logits, np.float32) for logits in past[number])
        candidate = candidate.with_fold(before, after, job.seen.labels[job.rows[fold]], job.settings.folds)
    return candidate


def _answers(job: Job, fresh: Fresh, ground: Ground, state: State, fold: Rows) -> Answers | None:
    """What a fold answers that nobody learned from; None if it was ended, which `state` is told."""
    seen, rows = job.seen, job.rows
    train = np.setdiff1d(np.arange(len(rows)), fold)
    try:
        head = job.probe(rows[train])
        model = fresh(head, rows[train])
        end = learn_again(model, ground, job.settings.tricks, state, train)
        if not end.whole:
            state.interrupted, state.fault = end.interrupted, end.fault
            return None
        table = features_of(job.classifier, seen, rows[fold])
        before = head.logits(table.read(0, len(table)))
        after = fold_logits(job.classifier, seen, job.settings, job.backbone, model, rows[fold])
    except KeyboardInterrupt:
        state.interrupted = True
        return None
    except StorageError as error:
        state.fault = error
        return None
    return before.tolist(), after.tolist()


def folds_of(job: Job) -> Iterator[Rows]:
    """Places of the pictures that are held out after the validation pictures: parts as large, all copies of one together."""
    seen = job.seen
    parts = max(round(len(seen.learn) / len(seen.validation)), 2)
    fold = grouped_folds(seen.labels[seen.learn], seen.copies.groups[seen.learn], parts, job.settings.seed)
    for part in range(min(parts, job.settings.folds - 1)):
        yield np.flatnonzero(fold == part)


def from_all(
    job: Job,
    candidate: Candidate,
    fresh: Fresh,
    ground: Ground,
    chosen: State,
    past: State | None,
    keep: Callable[[State], None],
) -> tuple[Candidate, State]:
    """(the candidate that learned from all pictures as `chosen` did from some, how that ended); if it was ended, as it was.

    past: where to go on; keep: is called after each epoch with the state.
    """
    seconds = sum(row.seconds for row in chosen.history[1:]) * len(job.rows) / len(job.seen.learn)
    job.say(f"learns again from all {len(job.rows):,} pictures, about {seconds:.0f} s")
    model = fresh(job.probe(job.rows), job.rows)
    again = learn_again(model, ground, job.settings.tricks, chosen, np.arange(len(job.rows)), past, keep)
    if again.whole:
        candidate = refitted(candidate, job.classifier, job.seen, job.settings, job.backbone, model)
    return candidate, again
