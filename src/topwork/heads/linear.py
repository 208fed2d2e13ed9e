"""L2 multinomial logistic regression, many fits in one pass over the features.

Cross-validation asks for the same fit with another fold left out, so all of them are solved together: one matrix
product serves every fit, and a table too large for memory is read once an iteration, not once an iteration and fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from topwork.heads.designs import Design
from topwork.heads.parallel import in_parallel

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]

PIVOT_ROWS = 4096
"""Rows from which the main directions of the features are estimated."""

SLABS = 4
"""Parts of a block that a pass sums apart, so that cores can share them; fixed, so that sums do not depend on cores."""

RANK = 48
"""Main directions that the preconditioner treats one by one."""


@dataclass(frozen=True)
class Job:
    """One fit among those solved together."""

    strength: float
    """Weight of the L2 penalty, strength / 2 * |W|^2 beside the summed cross-entropy: 1 / C in scikit-learn."""
    left_out: int = -1
    """Fold whose pictures the fit must not see; -1: it sees all."""


@dataclass(frozen=True)
class Directions:
    """Main directions of a design: the sum of X'X along each, and the mean over what is left."""

    basis: Float32
    """(D, R), orthonormal."""
    energy: NDArray[np.float64]
    """(R,) eigenvalues of X'X."""
    rest: float


def main_directions(data: Design, rank: int = RANK, seed: int = 0) -> Directions:
    """The leading eigenvectors of X'X by randomised subspace iteration (Halko 2011), from up to PIVOT_ROWS rows."""
    count, width = data.shape
    sample = _spread_rows(data, PIVOT_ROWS)
    share = count / max(len(sample), 1)
    rank = min(rank, width, len(sample))
    basis = np.random.default_rng(seed).standard_normal((width, rank)).astype(np.float32)
    for _ in range(2):
        basis = _orthonormal(sample.T @ (sample @ basis))
    image = sample @ basis
    energy, turn = np.linalg.eigh((image.T @ image).astype(np.float64))
    trace = float(np.einsum("nd,nd->", sample, sample, dtype=np.float64))
    rest = (trace - float(energy.sum())) / max(width - len(energy), 1)
    # Directions without any energy hold rounding: a floor keeps the weakest strengths from blowing it up.
    floor = 1e-3 * trace / width + 1e-9
    return Directions(basis @ turn.astype(np.float32), np.maximum(energy, floor) * share, max(rest, floor) * share)


def _orthonormal(columns: Float32) -> Float32:
    """An orthonormal basis (D, R) of the span of columns (D, R'), R <= R', from their small Gram matrix."""
    for _ in range(2 if columns.any() else 0):
        energy, turn = np.linalg.eigh((columns.T @ columns).astype(np.float64))
        kept = energy > 1e-10 * max(float(energy[-1]), 1e-30)
        columns = columns @ (turn[:, kept] / np.sqrt(energy[kept])).astype(np.float32)
    return columns


def _spread_rows(data: Design, limit: int) -> Float32:
    step = max(1, -(-data.shape[0] // limit))
    parts = [block[(-start) % step :: step, :-1] for start, block in data.blocks()]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Logistic:
    """The fits `jobs` of labels (N,) on a design, solved together by preconditioned L-BFGS.

    The preconditioner is the bound of the Hessian by X'X (Boehning 1992), exact along the main directions, and
    scaled to the mean curvature of the answers so far.
    """

    def __init__(
        self, data: Design, labels: Labels, folds: Labels, class_weights: Float32, directions: Directions | None = None
    ) -> None:
        self.data, self.labels, self.folds = data, labels, folds
        self.class_weights = class_weights
        """(K,), one each for equal classes."""
        self.directions = directions or main_directions(data)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.class_weights)

    def start(self, jobs: list[Job]) -> Float32:
        """Zero weights (D + 1, J, K)."""
        return np.zeros((self.data.shape[1] + 1, len(jobs), self.classes), np.float32)

    def solve(self, jobs: list[Job], weights: Float32, tolerance: float = 3e-3, limit: int = 100) -> Float32:
        """Weights (D + 1, J, K), the last row the intercepts, from a first guess `weights` of the same shape.

        A fit is done when its loss is within about `tolerance` x (loss + 0.02 nats a picture) of the least possible.
        """
        weights = weights.copy()
        going = np.arange(len(jobs))
        state = _Descent(self, jobs, weights)
        for _ in range(limit):
            done = state.step(tolerance)
            if done.any():
                weights[:, going[done]] = state.weights[:, done]
                going = going[~done]
                state.keep(~done)
                if not len(going):
                    return weights
        weights[:, going] = state.weights
        return weights

    def evaluate(self, jobs: list[Job], weights: Float32) -> tuple[NDArray[np.float64], Float32, NDArray[np.float64]]:
        """(penalised loss (J,), its gradient (D + 1, J, K), summed curvature (J,)) in one pass over the features."""
        width, count, classes = weights.shape
        flat = weights.reshape(width, count * classes)
        gradient = np.zeros_like(flat)
        loss = np.zeros(count)
        curvature = np.zeros(count)
        for start, block in self.data.blocks():
            slabs = np.array_split(np.arange(len(block)), SLABS)
            ranges = [(int(slab[0]), int(slab[-1]) + 1) for slab in slabs if len(slab)]
            work = [partial(self._pass, jobs, flat, start + low, block[low:high]) for low, high in ranges]
            # Added up in the order of the slabs, whichever thread was first: the sum is the same on any machine.
            for part_loss, part_gradient, part_curvature in in_parallel(work):
                loss += part_loss
                gradient += part_gradient
                curvature += part_curvature
        strengths = np.array([job.strength for job in jobs])
        penalised = weights[:-1]
        loss += 0.5 * strengths * np.einsum("djk,djk->j", penalised, penalised, dtype=np.float64)
        gradient = np.asarray(gradient.reshape(weights.shape))
        gradient[:-1] += penalised * strengths.astype(np.float32)[None, :, None]
        return loss, gradient, curvature / max(self.classes - 1, 1)

    def _pass(
        self, jobs: list[Job], flat: Float32, start: int, rows: Float32
    ) -> tuple[NDArray[np.float64], Float32, NDArray[np.float64]]:
        """Loss (J,), gradient (D + 1, J * K) and curvature (J,) of rows (n, D + 1), which begin at picture `start`."""
        count, classes = len(jobs), self.classes
        left_out = np.array([job.left_out for job in jobs])
        loss, curvature = np.zeros(count), np.zeros(count)
        gradient = np.zeros_like(flat)
        chunk = max(256, 2**22 // (count * classes * 4))
        for first in range(0, len(rows), chunk):
            part = rows[first : first + chunk]
            here = slice(start + first, start + first + len(part))
            truth = self.labels[here]
            mask = (self.folds[here, None] != left_out) * self.class_weights[truth][:, None]
            probs = (part @ flat).reshape(len(part), count, classes)
            probs -= probs.max(2, keepdims=True)
            mine = probs[np.arange(len(part)), :, truth]
            np.exp(probs, out=probs)
            total = probs.sum(2)
            loss += ((np.log(total) - mine) * mask).sum(0, dtype=np.float64)
            probs /= total[:, :, None]
            curvature += ((1 - np.einsum("njk,njk->nj", probs, probs)) * mask).sum(0, dtype=np.float64)
            probs[np.arange(len(part)), :, truth] -= 1
            probs *= mask[:, :, None]
            gradient += part.T @ probs.reshape(len(part), count * classes)
        return loss, gradient, curvature

    def held_out(self, jobs: list[Job], weights: Float32) -> Float32:
        """Logits (N, K) of every picture from the job that did not see it; 0 where all jobs did."""
        out = np.zeros((self.data.shape[0], self.classes), np.float32)
        for start, block in self.data.blocks():
            fold = self.folds[start : start + len(block)]
            for place, job in enumerate(jobs):
                mine = np.flatnonzero(fold == job.left_out)
                if len(mine):
                    out[start + mine] = block[mine] @ weights[:, place]
        return out


class _Descent:
    """L-BFGS (Liu and Nocedal 1989) on several fits at once, each with its own steps and its own history."""

    def __init__(self, model: Logistic, jobs: list[Job], weights: Float32) -> None:
        # Steps and changes remembered, fewer where each is large.
        self.memory = int(np.clip(2**28 // (8 * max(weights.size, 1)), 3, 8))
        self.model, self.jobs, self.weights = model, list(jobs), weights.copy()
        self.loss, self.gradient, curvature = model.evaluate(self.jobs, self.weights)
        seen = model.class_weights[model.labels].astype(np.float64)
        self.size = np.array([seen[model.folds != job.left_out].sum() for job in self.jobs])
        self.damping = np.maximum(curvature / np.maximum(self.size, 1e-9), 1e-4)
        self.history: list[tuple[Float32, Float32, Float32]] = []

    def keep(self, alive: NDArray[np.bool_]) -> None:
        """Go on with these fits only."""
        self.jobs = [job for job, stays in zip(self.jobs, alive, strict=True) if stays]
        self.weights, self.gradient = self.weights[:, alive], self.gradient[:, alive]
        self.loss, self.size, self.damping = self.loss[alive], self.size[alive], self.damping[alive]
        self.history = [(step[:, alive], change[:, alive], rho[alive]) for step, change, rho in self.history]

    def precondition(self, gradient: Float32) -> Float32:
        strengths = np.array([job.strength for job in self.jobs])
        known = self.model.directions
        share = self.damping * self.size / max(self.model.data.shape[0], 1)
        rest = (1 / (share * known.rest + strengths + 1e-12)).astype(np.float32)
        along = (1 / (share * known.energy[:, None] + strengths + 1e-12)).astype(np.float32) - rest  # (R, J)
        out = np.empty_like(gradient)
        inner = gradient[:-1]
        width, count, classes = inner.shape
        shadow = (known.basis.T @ inner.reshape(width, count * classes)).reshape(-1, count, classes)
        shadow *= along[:, :, None]
        out[:-1] = (known.basis @ shadow.reshape(-1, count * classes)).reshape(width, count, classes)
        out[:-1] += inner * rest[None, :, None]
        out[-1] = gradient[-1] / (self.damping * self.size + 1e-12).astype(np.float32)[:, None]
        return out

    def direction(self) -> Float32:
        """The quasi-Newton step (D + 1, J, K) by the two-loop recursion."""
        q = self.gradient.copy()
        alphas = []
        for step, change, rho in reversed(self.history):
            alpha = rho * _dot(step, q)
            q -= change * alpha[None, :, None]
            alphas.append(alpha)
        q = self.precondition(q)
        if self.history:
            # The last change of the gradient tells how far off the preconditioner's scale is.
            _, change, rho = self.history[-1]
            size = rho * _dot(change, self.precondition(change))
            scale = np.where(rho > 0, np.clip(1 / np.maximum(size, 1e-30), 0.05, 20), 1)
            q *= scale.astype(np.float32)[None, :, None]
        for (step, change, rho), alpha in zip(self.history, reversed(alphas), strict=True):
            q += step * (alpha - rho * _dot(change, q))[None, :, None]
        return -q

    def step(self, tolerance: float) -> NDArray[np.bool_]:
        """Move every fit once; True (J,) for those that had arrived."""
        move = self.direction()
        slope = _dot(self.gradient, move).astype(np.float64)
        done = -0.5 * slope <= tolerance * (self.loss + 0.02 * self.size)
        if done.all():
            return done
        trial = np.where(done[None, :, None], self.weights, self.weights + move)
        loss, gradient, _ = self.model.evaluate(self.jobs, trial)
        length = np.ones(len(done))
        for _ in range(12):
            bad = np.flatnonzero(~done & ~(loss <= self.loss + 1e-4 * length * slope + 1e-6 * self.loss))
            if not len(bad):
                break
            # The minimum of the parabola through both losses and the slope, within bounds; only these fits again.
            bend = loss[bad] - self.loss[bad] - length[bad] * slope[bad]
            shrink = np.clip(-0.5 * length[bad] * slope[bad] / np.maximum(bend, 1e-30), 0.1, 0.6)
            length[bad] *= shrink
            trial[:, bad] = self.weights[:, bad] + move[:, bad] * length[bad].astype(np.float32)[None, :, None]
            loss[bad], gradient[:, bad], _ = self.model.evaluate([self.jobs[place] for place in bad], trial[:, bad])
        else:
            # Rounding leaves no way down: this is where it ends.
            done[bad] = True
            trial[:, bad], gradient[:, bad], loss[bad] = self.weights[:, bad], self.gradient[:, bad], self.loss[bad]
        change, moved = gradient - self.gradient, trial - self.weights
        curve = _dot(moved, change)
        rho = np.where(curve > 1e-12, 1 / np.maximum(curve, 1e-12), 0).astype(np.float32)
        self.history = [*self.history[-(self.memory - 1) :], (moved, change, rho)]
        self.weights, self.gradient, self.loss = trial, gradient, loss
        return done


def _dot(left: Float32, right: Float32) -> Float32:
    """Inner products (J,) of two (D + 1, J, K)."""
    return np.asarray(np.einsum("djk,djk->j", left, right), np.float32)
