"""A folder as a picture: every photo a point, alike ones near each other; suspect labels and strangers marked."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topwork.compare.probe import best_of, probes
from topwork.compare.reading import LookSettings, Seen, changed, opened, see
from topwork.errors import InputError, UnknownName
from topwork.features.extract import Progress
from topwork.heads.designs import transformed
from topwork.heads.metrics import softmax
from topwork.heads.suspects import suspect_labels
from topwork.pictures.sources import Pictures

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]
Method = Literal["tsne", "pca"]

DIRECTIONS = 50
"""Main directions of the features that t-SNE sees."""

FAR = 5.0
"""Spreads (median absolute deviations) beyond the median at which a picture counts as a stranger to all others."""

NEAREST = 3
"""Nearest pictures whose distance tells how alone a picture is."""


@dataclass(frozen=True)
class Place:
    """One picture on the map."""

    path: str
    label: str | None
    x: float
    """0 to 1, left to right."""
    y: float
    """0 to 1, bottom to top."""
    suggested: str | None
    """The class that it looks like, where its label is suspect."""
    stranger: bool
    """Far from every other picture."""


@dataclass(frozen=True)
class PictureMap:
    """A folder as a picture."""

    points: list[Place]
    classes: list[str]
    method: str
    kept: float
    """Of what two main directions hold of all differences (pca), or of each picture's ten nearest on the map, the share that is
    among its ten nearest by features (tsne): 1 is a map that misleads nobody."""
    view: str
    backbone: str
    suspects: int
    strangers: int
    broken: list[dict[str, str]]
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def picture_map(
    pictures: Pictures,
    *,
    method: Method = "tsne",
    settings: LookSettings | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PictureMap:
    """The map of a folder, a CSV, (picture, label) pairs or pictures; labels where there are some. Raises InputError.

    method: tsne (van der Maaten 2008) keeps neighbours together; pca keeps distances, as far as two directions can.
    """
    began = time.perf_counter()
    if method not in ("tsne", "pca"):
        raise UnknownName("method", method, ("tsne", "pca"))
    settings = changed(settings or LookSettings(), changes)
    with opened(pictures) as records:
        seen = see(records, settings, progress)
    if len(seen.labels) < 3:
        raise InputError(
            f"{seen.found.records.source}: expected at least 3 usable pictures for a map, found {len(seen.labels)}."
        )
    suggested, view = _suspects(seen, settings.seed)
    rows = _directions(seen, view)
    places, kept = layout(rows, method, settings.seed)
    alone = strangers(rows, seen.groups)
    names = seen.classes
    points = [
        Place(
            str(record.path),
            record.label,
            round(float(x), 4),
            round(float(y), 4),
            names[suggested[row]] if row in suggested else None,
            bool(alone[row]),
        )
        for row, (record, (x, y)) in enumerate(zip(seen.found.records, places, strict=True))
    ]
    return PictureMap(
        points=points,
        classes=names,
        method=method,
        kept=round(kept, 3),
        view=view,
        backbone=seen.chosen.spec.id,
        suspects=len(suggested),
        strangers=int(alone.sum()),
        broken=seen.found.broken,
        seconds=round(time.perf_counter() - began, 3),
        warnings=seen.notes,
    )


def layout(rows: Float32, method: Method, seed: int = 0) -> tuple[NDArray[np.float64], float]:
    """Places (N, 2) in [0, 1] of rows (N, D), and how far the map can be trusted: see PictureMap.kept."""
    centred = (rows - rows.mean(0)).astype(np.float64)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    main = left[:, :DIRECTIONS] * strengths[:DIRECTIONS]
    if method == "pca" or len(rows) < 8:
        places = np.pad(main[:, :2], ((0, 0), (0, max(0, 2 - main.shape[1]))))
        kept = float((strengths[:2] ** 2).sum() / max((strengths**2).sum(), 1e-12))
    else:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        start = main[:, :2] / max(float(main[:, 0].std()), 1e-12) * 1e-4
        perplexity = min(30.0, (len(rows) - 1) / 3)
        fitted = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed % 2**32, max_iter=600)
        with threadpool_limits(1):  # its threads wait for each other by spinning: one is faster wherever anything else runs
            places = np.asarray(fitted.fit_transform(main.astype(np.float32)), np.float64)
        kept = _neighbours_kept(main, places)
    low, high = places.min(0), places.max(0)
    span = max(float((high - low).max()), 1e-12)
    return np.clip((places - (low + high) / 2) / span + 0.5, 0, 1), kept


def strangers(rows: Float32, groups: Labels) -> NDArray[np.bool_]:
    """Which rows (N, D), of length one, lie far from all rows of other groups."""
    count = len(rows)
    near = np.empty(count)
    for start in range(0, count, 1024):
        likeness = rows[start : start + 1024] @ rows.T
        likeness[groups[start : start + 1024, None] == groups[None, :]] = -1
        some = min(NEAREST, count - 1)
        near[start : start + 1024] = 1 - np.partition(likeness, count - some, axis=1)[:, -some:].mean(1)
    middle = np.median(near)
    spread = 1.4826 * float(np.median(np.abs(near - middle)))
    return np.asarray(near > middle + FAR * max(spread, 1e-3))


def _suspects(seen: Seen, seed: int) -> tuple[dict[int, int], str]:
    """Of each picture with a suspect label the class it looks like, and the features that tell the classes best."""
    spec = seen.chosen.spec
    if not seen.labelled:
        return {}, "last"
    present, labels = np.unique(seen.labels, return_inverse=True)
    best = best_of(probes(seen.found.table, labels, seen.groups, len(present), spec.views, seed))
    found = suspect_labels(softmax(best.logits), labels)
    return {one.row: int(present[one.suggested]) for one in found}, best.view


def _directions(seen: Seen, view: str) -> Float32:
    """(N, D) the view, square-rooted, each row of length one."""
    columns = seen.chosen.spec.views[view]
    table = seen.found.table
    return np.concatenate([transformed(transformed(rows[:, columns], "sqrt"), "unit") for _, rows in table.blocks()])


def _neighbours_kept(rows: NDArray[np.float64], places: NDArray[np.float64], count: int = 10) -> float:
    """Share of the nearest on the map (N, 2) that are among the nearest by rows (N, D)."""
    count = min(count, len(rows) - 1)
    total = 0
    squares, flat = (rows**2).sum(1), (places**2).sum(1)
    for row in range(len(rows)):
        true = squares - 2 * rows @ rows[row]
        drawn = flat - 2 * places @ places[row]
        true[row] = drawn[row] = np.inf
        total += len(np.intersect1d(np.argpartition(true, count)[:count], np.argpartition(drawn, count)[:count]))
    return total / (count * len(rows))
