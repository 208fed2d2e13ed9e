"""The k nearest training pictures vote, each by how near it is: no fitting at all, sometimes the best of very few pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError
from topwork.heads.designs import transformed
from topwork.heads.head import Head, entry, tensor
from topwork.heads.metrics import softmax
from topwork.heads.recipes import Ground, Trial

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]

SHARPNESS = 20.0
"""A neighbour's vote is exp(SHARPNESS x cosine): 0.05 nearer counts for e times as much."""

LEAST_VOTE = 1e-4
"""Of the nearest neighbour's vote, what a class without a neighbour gets, so that its logit is finite."""


@dataclass(frozen=True, eq=False)
class NeighbourHead:
    """logits = log of the votes that the k nearest references give each class, by cosine of transformed features."""

    view: str
    columns: NDArray[np.int64]
    width: int
    transform: str
    references: Float32
    """(R, D), rows of length one."""
    owners: Labels
    """(R,) class of each reference."""
    classes: int
    neighbours: int
    temperature: float = 1.0
    kind: str = "k-nn"
    mirrored: bool = False

    def logits(self, features: Float32) -> Float32:
        """Logits (N, K) of full features (N, D_full), before the temperature."""
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"expected features (N, {self.width}), got {features.shape}")
        rows = transformed(transformed(features[:, self.columns], self.transform), "unit")
        return votes(rows @ self.references.T, self.owners, self.classes, self.neighbours)

    def probs(self, features: Float32) -> Float32:
        """Probabilities (N, K) of full features (N, D_full)."""
        return softmax(self.logits(features), self.temperature)

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays to store."""
        return {"head.references": self.references, "head.owners": self.owners, "head.columns": self.columns}

    def to_config(self) -> dict[str, Any]:
        """What to store beside the arrays, as JSON can say it."""
        return {
            "kind": self.kind,
            "view": self.view,
            "mirrored": self.mirrored,
            "transform": self.transform,
            "temperature": self.temperature,
            "classes": self.classes,
            "width": self.width,
            "neighbours": self.neighbours,
        }

    @classmethod
    def from_parts(cls, config: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> NeighbourHead:
        """The head of `to_config` and `to_tensors`. Raises BundleError naming the first thing that does not fit."""
        temperature, classes = float(entry(config, "temperature", (int, float))), entry(config, "classes", int)
        width, neighbours = entry(config, "width", int), entry(config, "neighbours", int)
        columns = tensor(tensors, "head.columns", (None,), "iu").astype(np.int64)
        references = tensor(tensors, "head.references", (None, len(columns)), "f").astype(np.float32)
        owners = tensor(tensors, "head.owners", (len(references),), "iu").astype(np.int64)
        inside = not len(columns) or (columns.min() >= 0 and columns.max() < width)
        known = len(owners) > 0 and owners.min() >= 0 and owners.max() < classes
        if not (inside and known and neighbours >= 1 and np.isfinite(temperature) and temperature > 0):
            raise BundleError("head: columns, owners, neighbours or temperature do not fit each other. The bundle is damaged.")
        view, transform = entry(config, "view", str), entry(config, "transform", str)
        return cls(view, columns, width, transform, references, owners, classes, neighbours, temperature)


def votes(likeness: Float32, owners: Labels, classes: int, neighbours: int) -> Float32:
    """Logits (N, K) from cosines (N, R) with references of classes `owners` (R,); -inf marks what may not vote."""
    count = min(neighbours, likeness.shape[1])
    nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    near = np.take_along_axis(likeness, nearest, axis=1)
    best = near.max(1, keepdims=True)
    best = np.where(np.isfinite(best), best, 0)
    weight = np.exp(SHARPNESS * (near - best))
    total = np.full((len(likeness), classes), LEAST_VOTE, np.float32)
    np.add.at(total, (np.arange(len(likeness))[:, None], owners[nearest]), weight)
    return np.log(total)


def try_neighbours(ground: Ground, like: Trial, candidates: tuple[int, ...]) -> tuple[Trial, Float32, NeighbourHead] | None:
    """The best number of neighbours on the view and transform of a trial: its trial, out-of-fold logits and head.

    None where the pictures are too many to compare each with each. `ground` must be one of single looks.
    """
    table = ground.tables[False]
    columns = ground.columns[like.view]
    full = table.read(0, len(table))
    rows = transformed(transformed(full[:, columns], like.transform), "unit")
    likeness = rows @ rows.T
    likeness[ground.folds[:, None] == ground.folds[None, :]] = -np.inf
    best: tuple[Trial, Float32, NeighbourHead] | None = None
    for neighbours in candidates:
        began = time.perf_counter()
        logits = votes(likeness, ground.labels, ground.classes, neighbours)
        blank = replace(like, kind="k-nn", strength=0.0, ridge=0.0, mirrored=False, balanced=False, neighbours=neighbours)
        trial = ground.note(blank, logits, began)
        if best is None or trial.log_loss < best[0].log_loss:
            head = NeighbourHead(
                like.view, columns, table.shape[1], like.transform, rows, ground.labels, ground.classes, neighbours
            )
            best = trial, logits, head
    return best


AnyHead = Head | NeighbourHead


def read_head(config: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> AnyHead:
    """The head of `to_config` and `to_tensors`, whatever its kind. Raises BundleError."""
    return (NeighbourHead if config.get("kind") == "k-nn" else Head).from_parts(config, tensors)
