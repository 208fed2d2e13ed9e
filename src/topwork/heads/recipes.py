"""Recipes for a head, each tried on held-out pictures: logistic regression, linear discriminant, and the two together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from topwork.features.table import FeatureTable
from topwork.heads.calibrate import fit_temperature
from topwork.heads.designs import Design, design
from topwork.heads.discriminant import Discriminant
from topwork.heads.linear import Job, Logistic, main_directions
from topwork.heads.metrics import accuracy, confusion, log_loss

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """One recipe and how it did on held-out pictures."""

    view: str
    mirrored: bool
    transform: str
    kind: str
    """"logistic", "discriminant", "nearest mean", "k-nn", or "blend": logistic and discriminant, each by its temperature."""
    strength: float
    """L2 strength of the logistic part, or of the logistic partner of a discriminant: 1 / C of scikit-learn."""
    ridge: float
    """Ridge of the discriminant part, 0 where there is none."""
    balanced: bool
    """Whether every class weighed the same, whatever its number of pictures."""
    neighbours: int = 0
    """Of k-nn, 0 elsewhere."""
    accuracy: float = 0.0
    """Share of held-out pictures answered right."""
    mean_recall: float = 0.0
    """Mean over the classes of the share of their held-out pictures answered right."""
    log_loss: float = float("inf")
    """Nats a held-out picture, after the best temperature."""
    pictures: int = 0
    """Pictures the trial was made on."""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Fit:
    """A trial with what it found."""

    trial: Trial
    data: Design
    logits: Float32
    """(n, K) out of fold."""
    weights: Float32
    """(D + 1, K) from all the pictures of the trial, on standardised features."""
    starts: Float32
    """(D + 1, J, K) where logistic fits may start: one a fold and then, unless on a sample, the one of all."""

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better."""
        return self.trial.log_loss, -self.trial.accuracy


@dataclass
class Ground:
    """What all trials share: the pictures they are made on, and a log."""

    tables: dict[bool, FeatureTable]
    """The table of first looks; under True, once there is one, first looks above second looks."""
    labels: Labels
    folds: Labels
    classes: int
    columns: Mapping[str, NDArray[np.int64]]
    seed: int
    rows: NDArray[np.int64] | None = None
    """Rows of the table to try on, or all."""
    trials: list[Trial] = field(default_factory=list)
    looks: int = 1
    """2 where the heads learn from both looks at every picture: labels, folds and logits then stand twice."""
    averaged: bool = False
    """Whether a picture's answer is the mean over its two looks, or that to its first."""

    def __post_init__(self) -> None:
        some = slice(None) if self.rows is None else self.rows
        self.some_labels, self.some_folds = self.labels[some], self.folds[some]

    def answers(self, logits: Float32) -> Float32:
        """One row of logits per picture."""
        if self.looks == 1:
            return logits
        first, second = np.split(logits, 2)
        return (first + second) * np.float32(0.5) if self.averaged else first

    def design(self, view: str, mirrored: bool, transform: str) -> Design:
        """The view, standardised on the pictures of the trials."""
        return design(self.tables[mirrored], self.columns[view], transform, self.rows)

    def note(self, trial: Trial, logits: Float32, began: float) -> Trial:
        """The trial with its figures from out-of-fold logits (n, K), entered in the log."""
        logits = self.answers(logits)
        labels = self.some_labels[: len(logits)]
        matrix = confusion(labels, logits.argmax(1), self.classes)
        sizes = matrix.sum(1)
        done = replace(
            trial,
            accuracy=accuracy(logits, labels),
            mean_recall=float((np.diag(matrix)[sizes > 0] / sizes[sizes > 0]).mean()),
            log_loss=log_loss(logits, labels, fit_temperature(logits, labels)),
            pictures=len(labels),
            seconds=time.perf_counter() - began,
        )
        self.trials.append(done)
        return done


class LogisticPath:
    """Logistic fits of one view, from strength to strength, each started from its nearest neighbour."""

    def __init__(self, ground: Ground, blank: Trial, data: Design) -> None:
        self.ground, self.blank, self.data = ground, replace(blank, kind="logistic", ridge=0.0), data
        weights = class_weights(ground.some_labels, ground.classes, blank.balanced)
        self.model = Logistic(data, ground.some_labels, ground.some_folds, weights, main_directions(data, seed=ground.seed))
        self.found: dict[float, Fit] = {}

    def visit(self, strength: float, start: Float32 | None = None) -> Fit:
        """The fit at a strength."""
        if strength in self.found:
            return self.found[strength]
        began = time.perf_counter()
        jobs = jobs_of(self.ground.some_folds, strength)
        if self.ground.rows is not None:
            jobs = jobs[:-1]  # what is only tried on a sample ends in no head
        if start is None and self.found:
            near = min(self.found, key=lambda other: (abs(np.log10(other / strength)), -other))
            start = self.found[near].starts
        starts = self.model.solve(jobs, self.model.start(jobs) if start is None else start)
        logits = self.model.held_out([job for job in jobs if job.left_out >= 0], starts)
        trial = self.ground.note(replace(self.blank, strength=strength), logits, began)
        self.found[strength] = Fit(trial, self.data, logits, starts[:, -1], starts)
        return self.found[strength]

    def descend(self, grid: list[float], place: int) -> Fit:
        """The best fit along a sorted grid: by two places at a time while it gets better, then one place further."""
        best = self.visit(grid[place])
        for stride in (-2, 2):
            while 0 <= place + stride < len(grid):
                there = self.visit(grid[place + stride])
                # Weaker strengths cost more and more steps: go on only where it shows.
                if there.rank[0] >= best.rank[0] * (0.98 if stride < 0 else 1.0):
                    break
                best, place = there, place + stride
        sides = [side for side in (-1, 1) if 0 <= place + 2 * side < len(grid)]
        for side in sorted(sides, key=lambda side: self.visit(grid[place + 2 * side]).rank)[:1]:
            best = min(best, self.visit(grid[place + side]), key=lambda fit: fit.rank)
        return best


def jobs_of(folds: Labels, strength: float) -> list[Job]:
    """One fit a fold that leaves it out, and the one of all pictures."""
    return [Job(strength, int(fold)) for fold in np.unique(folds)] + [Job(strength)]


def class_weights(labels: Labels, classes: int, balanced: bool) -> Float32:
    """(K,) ones, or inverse to the classes' sizes with mean 1 over the pictures."""
    if not balanced:
        return np.ones(classes, np.float32)
    sizes = np.bincount(labels, minlength=classes)
    present = max(int((sizes > 0).sum()), 1)
    return (len(labels) / (present * np.maximum(sizes, 1))).astype(np.float32)


def try_discriminant(ground: Ground, partner: Fit, ridges: Iterable[float]) -> Fit:
    """The best discriminant of the view of a logistic fit, walking along the ridges while it gets better.

    Its `starts` are its own weights at their temperature: where logistic fits may begin.
    """
    data, blank = partner.data, replace(partner.trial, kind="discriminant")
    model = Discriminant(data, ground.some_labels, ground.some_folds, ground.classes, blank.balanced)
    best: Fit | None = None
    for ridge in ridges:
        began = time.perf_counter()
        weights = model.all_weights(ridge)
        logits = model.held_out(weights)
        trial = ground.note(replace(blank, ridge=ridge), logits, began)
        if best is not None and trial.log_loss >= best.trial.log_loss:
            break
        starts = weights / np.float32(fit_temperature(logits, ground.some_labels))
        # From a sample nothing ends in a head, and logistic fits are not made for all of it either.
        best = Fit(trial, data, logits, weights[:, -1], starts if ground.rows is None else starts[:, :-1])
    assert best is not None  # noqa: S101 - there is always one ridge
    return best


def nearest_mean(ground: Ground, partner: Fit) -> Fit:
    """The nearest class mean on the view of a logistic fit: the discriminant whose ridge outweighs all spread."""
    began = time.perf_counter()
    data = partner.data
    model = Discriminant(data, ground.some_labels, ground.some_folds, ground.classes, balanced=True)
    weights = model.all_weights(np.inf)
    logits = model.held_out(weights)
    trial = ground.note(replace(partner.trial, kind="nearest mean", strength=0.0, ridge=0.0), logits, began)
    return Fit(trial, data, logits, weights[:, -1], weights if ground.rows is None else weights[:, :-1])


def blend(ground: Ground, first: Fit, second: Fit) -> Fit:
    """The sum of a logistic fit and a discriminant of the same view, each divided by its temperature."""
    began = time.perf_counter()
    labels = ground.some_labels
    shares = [np.float32(1 / fit_temperature(fit.logits, labels)) for fit in (first, second)]
    logits = shares[0] * first.logits + shares[1] * second.logits
    trial = replace(first.trial, kind="blend", ridge=second.trial.ridge)
    weights = shares[0] * first.weights + shares[1] * second.weights
    return Fit(ground.note(trial, logits, began), first.data, logits, weights, first.starts)
