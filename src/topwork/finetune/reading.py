"""The pictures of a fine-tune: the probe's own split, with validation pictures held out of the training part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from topwork.classifier import Classifier, averaged, extract_for
from topwork.copies import Copies, find_copies
from topwork.errors import InputError
from topwork.features.extract import Extraction, Progress
from topwork.features.table import FeatureTable
from topwork.heads.head import Head
from topwork.heads.search import HeadSettings, search
from topwork.pictures.records import Records
from topwork.pictures.splits import holdout

Rows = NDArray[np.int64]
LEAST = 4
"""Different training pictures of a class: to learn from, and to choose by."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures with the probe's features and their split; rows are those of `found.records`."""

    found: Extraction
    copies: Copies
    learn: Rows
    """Rows to learn from."""
    validation: Rows
    """Rows that choose: when to stop, and whether it helped."""
    test: Rows
    """Rows that only tell."""
    notes: list[str]

    @property
    def labels(self) -> Rows:
        """(N,) class of each row."""
        return self.found.records.labels


def read(classifier: Classifier, records: Records, share: float, seed: int, progress: Progress | None = None) -> Seen:
    """The pictures of `records`, split as the classifier's own: what it was tested on tests, what it learned from learns.

    Raises InputError: other classes, too few pictures, or no test picture among them.
    """
    records = _known(classifier, records)
    found = extract_for(classifier.spec, classifier.engine, records, True, progress)
    if not len(found.records):
        raise InputError(f"{records.source}: none of its {len(records)} pictures could be used. See: topwork audit")
    tested, learned = set(classifier.splits.get("test", [])), set(classifier.splits.get("train", []))
    given = np.array([row.split == "test" for row in found.records], np.bool_)
    was_test = np.array([sha in tested for sha in found.sha256], np.bool_)
    was_train = np.array([sha in learned and sha not in tested for sha in found.sha256], np.bool_)
    test = was_test | (given & ~was_train)
    notes = list(records.notes)
    if dropped := int((given & was_train).sum()):
        notes.append(f"{dropped} test pictures are among those that the classifier learned from: no test of it, left out")
    if not test.any():
        raise InputError(
            f"{records.source}: holds no picture that the classifier did not learn from, so nothing could tell whether "
            "fine-tuning helped. Give the folder it was fitted to, or other labelled pictures with --test."
        )
    if new := int((~test & ~was_train & ~given).sum()):
        notes.append(f"{new} training pictures are new: the classifier was not fitted to them")
    copies = find_copies(found, classifier.spec.views.get("last+stages", classifier.spec.views["last"]))
    near = np.isin(copies.groups, copies.groups[test]) & ~test & ~was_train
    if near.any():
        notes.append(f"{int(near.sum())} new pictures are near-copies of test pictures, left out")
    if classifier.weights == "fine-tuned":
        notes.append(
            "this network has learned from these pictures before: those held out are not new to it, and whether it helps is "
            "judged too kindly; the test pictures are new to it"
        )
    train = np.flatnonzero(~test & ~(given & was_train) & ~near)
    labels = found.records.labels
    _enough(records.source, labels[train], copies.groups[train], list(classifier.classes))
    held = holdout(labels[train], copies.groups[train], list(classifier.classes), share, seed)
    return Seen(found, copies, train[~held], train[held], np.flatnonzero(test), notes)


def fair(old: Classifier, new: Classifier) -> Classifier:
    """`new`, a new head on the network of `old`. Raises InputError where that network learned from pictures that test it."""
    learned = set(old.splits.get("train", [])) if old.weights == "fine-tuned" else set()
    if known := learned & set(new.splits.get("test", [])):
        raise InputError(
            f"--new-head: this bundle's network has learned from {len(known)} of the test pictures, so no test would be fair. "
            "Begin with the bundle that it was fine-tuned from, or give other pictures with --test."
        )
    return new


def _known(classifier: Classifier, records: Records) -> Records:
    """The records with the classifier's classes."""
    unknown = sorted({row.label for row in records if row.label is not None} - set(classifier.classes))
    if unknown:
        raise InputError(
            f"{records.source}: classes that the classifier does not know: {', '.join(unknown[:8])}"
            f"{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}. It knows {', '.join(classifier.classes[:12])}. "
            "To start a new head for the classes of this folder on the same network: --new-head"
        )
    return replace(records, classes=classifier.classes)


def _enough(source: str, labels: Rows, groups: Rows, classes: list[str]) -> None:
    counts = [len(np.unique(groups[labels == place])) for place in range(len(classes))]
    few = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < LEAST]
    if few:
        raise InputError(
            f"{source}: too few different training pictures in {', '.join(few[:8])}"
            f"{f' and {len(few) - 8} more' if len(few) > 8 else ''}; fine-tuning needs at least {LEAST} a class "
            "(near-copies count once). Add pictures; the classifier itself is fine as it is."
        )


def probe_again(classifier: Classifier, seen: Seen, rows: Rows, seed: int) -> Head:
    """The classifier's own recipe for a head, fitted to `rows` alone, so that the others judge it fairly."""
    head = classifier.head
    chosen = classifier.facts.get("head", {})
    linear = isinstance(head, Head) and head.kind in ("logistic", "discriminant", "blend")
    strength = chosen.get("strength") if linear else None
    kinds = {"logistic": ("logistic",), "discriminant": ("logistic", "discriminant")}.get(
        head.kind, ("logistic", "discriminant", "blend") if linear else ("logistic",)
    )
    settings = HeadSettings(
        kinds=kinds,
        transforms=(head.transform,),
        strengths=(float(strength),) if strength else HeadSettings.strengths,
        first_strength=float(strength) if strength else HeadSettings.first_strength,
        balance_ratio=float("inf"),
        seed=seed,
    )
    table = features_of(classifier, seen, rows)
    views = {head.view: head.columns}
    found = search(table, seen.labels[rows], seen.copies.groups[rows], list(classifier.classes), views, None, settings).head
    assert isinstance(found, Head)  # noqa: S101 - only linear kinds are searched
    return found


def features_of(classifier: Classifier, seen: Seen, rows: Rows) -> FeatureTable:
    """The table that the classifier's head sees of some rows."""
    if classifier.head.mirrored:
        return averaged(classifier.spec, classifier.engine, seen.found, True, rows)
    return seen.found.table.subset(rows)
