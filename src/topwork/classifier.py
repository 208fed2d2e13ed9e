"""The front door of the library: a classifier is fitted, asked, scored, saved and loaded."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork import __version__
from topwork.answers import NONE_OF_THESE, Prediction, Predictions, Score, score_answers
from topwork.bundle import Bundle, read_bundle, unchanged, write_bundle
from topwork.errors import BundleError, InputError, StorageError
from topwork.features.choose import open_engine, open_files
from topwork.features.engines import Engine
from topwork.features.extract import Extraction, Progress, extract, store_key
from topwork.features.store import Store
from topwork.features.table import FeatureTable
from topwork.heads.metrics import softmax
from topwork.heads.neighbours import AnyHead, read_head
from topwork.heads.strangers import Strangers
from topwork.pictures.records import Records
from topwork.pictures.sources import IN_MEMORY, Pictures, labelled_records, plain_records
from topwork.zoo.spec import BackboneSpec

LOADS = 5
"""Tries to load a bundle that is replaced while it is read."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A backbone with a head: from pictures to labels, probabilities and "none of these"."""

    classes: tuple[str, ...]
    spec: BackboneSpec
    head: AnyHead
    strangers: Strangers
    engine: Engine
    parts: dict[str, Path]
    """Files that a bundle copies: the engine's and the backbone's."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Everything measured and decided while fitting; what report.html tells."""
    splits: dict[str, list[str]] = field(default_factory=dict)
    """SHA-256 of the training and the test pictures."""
    weights: str = "pretrained"

    @classmethod
    def fit(cls, pictures: Pictures, **settings: Any) -> Classifier:
        """A classifier fitted to labelled pictures; see `topwork.fitting.fit` for the settings."""
        from topwork.fitting import fit

        return fit(pictures, **settings)

    def finetune(self, pictures: Pictures, **settings: Any) -> Classifier:
        """The better of this classifier and one whose network was trained on; its facts tell why.

        See `topwork.finetune.workshop.finetune`, which also gives the comparison, for the settings.
        """
        from topwork.finetune.workshop import finetune

        return finetune(self, pictures, **settings).classifier

    def predict(
        self,
        pictures: Pictures,
        *,
        always_answer: bool = False,
        top: int = 5,
        progress: Progress | None = None,
    ) -> Predictions:
        """The answers to pictures: a path, a folder, a list of them, PIL pictures, or uint8 (N, H, W, 3).

        A picture that cannot be used is answered with its error; nothing is raised for it.
        """
        start = time.perf_counter()
        with plain_records(pictures) as records:
            found, table = self.features(records, progress=progress)
        probs, scores = self.judge(table)
        strange = np.zeros(len(scores), np.bool_) if always_answer else scores > self.strangers.threshold
        errors = {bad["path"]: f"{bad['reason']}: {bad['detail']}" for bad in found.broken}
        every = np.full((len(records), len(self.classes)), np.nan, np.float32)
        every[np.array(found.usable, np.bool_)] = probs
        rows: list[Prediction] = []
        place = 0
        for number, (record, usable) in enumerate(zip(records, found.usable, strict=True)):
            name = f"picture {number}" if records.source == IN_MEMORY else str(record.path)
            if not usable:
                rows.append(Prediction(name, None, None, False, [], None, errors[str(record.path)]))
                continue
            rows.append(self._answer(name, probs[place], bool(strange[place]), float(scores[place]), top))
            place += 1
        warnings = [*records.notes, *found.warnings]
        return Predictions(rows, self.classes, every, time.perf_counter() - start, warnings)

    def _answer(self, path: str, probs: NDArray[np.float32], strange: bool, score: float, top: int) -> Prediction:
        order = np.argsort(-probs, kind="stable")[:top]
        ranking = [{"label": self.classes[k], "probability": round(float(probs[k]), 6)} for k in order]
        label = NONE_OF_THESE if strange else self.classes[order[0]]
        return Prediction(path, label, round(float(probs[order[0]]), 6), strange, ranking, round(score, 4))

    def score(
        self,
        pictures: Pictures,
        *,
        labels: Sequence[str] | None = None,
        progress: Progress | None = None,
        store: bool = False,
    ) -> Score:
        """How good the answers to labelled pictures are: a folder, a CSV, (picture, label) pairs, or pictures with `labels`.

        Where there is a test/ beside train/ it alone counts. Raises InputError for classes this classifier does not know.
        """
        start = time.perf_counter()
        with labelled_records(pictures, labels) as given:
            records = given.of_split("test") if any(row.split == "test" for row in given) else given
            records = self.known(records)
            found, table = self.features(records, progress=progress, keep=store)
        if not len(table):
            raise InputError(f"{records.source}: none of its {len(records)} pictures could be used. See: topwork audit")
        probs, scores = self.judge(table)
        strange = scores > self.strangers.threshold
        paths = [str(path) for path in found.records.paths]
        score = score_answers(probs, found.records.labels, strange, paths, self.classes)
        return replace(
            score,
            broken=found.broken,
            seconds=round(time.perf_counter() - start, 3),
            images_per_second=round(found.images_per_second, 1),
            warnings=[*records.notes, *found.warnings, *self._learned(found, probs.argmax(1))],
        )

    def _learned(self, found: Extraction, answers: NDArray[np.int64]) -> list[str]:
        """A warning where pictures that are scored are, byte for byte, those that were learned from."""
        learned = set(self.splits.get("train", ()))
        new = np.array([sha256 not in learned for sha256 in found.sha256], bool)
        count = len(new) - int(new.sum())
        if not count:
            return []
        right = answers[new] == np.array(found.records.labels)[new]
        rest = f"of the other {len(right):,} it got {100 * right.mean():.1f} % right" if len(right) else "score it on new ones"
        return [f"{count:,} of these {len(new):,} pictures were learned from, so the accuracy is flattered; {rest}"]

    def known(self, records: Records) -> Records:
        """The same table with this classifier's classes. Raises InputError naming the classes it does not know."""
        unknown = sorted({row.label for row in records if row.label is not None} - set(self.classes))
        if unknown:
            counts = [f"{name} ({sum(row.label == name for row in records)})" for name in unknown[:8]]
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            raise InputError(
                f"{records.source}: classes that the classifier does not know: {', '.join(counts)}{more}. "
                f"It knows {', '.join(self.classes[:12])}{', ...' if len(self.classes) > 12 else ''}. "
                "Rename these folders, leave them out, or fit again with them."
            )
        return replace(records, classes=self.classes)

    def features(
        self, records: Records, progress: Progress | None = None, keep: bool = False
    ) -> tuple[Extraction, FeatureTable]:
        """What was found of the records, and the table (N, D) that the head sees."""
        found = extract_for(self.spec, self.engine, records, keep, progress)
        return found, averaged(self.spec, self.engine, found, keep) if self.head.mirrored else found.table

    def judge(self, table: FeatureTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (N, K) and stranger scores (N,) of a table, block by block."""
        probs = np.empty((len(table), len(self.classes)), np.float32)
        scores = np.empty(len(table), np.float32)
        for start, rows in table.blocks():
            logits = self.head.logits(rows)
            probs[start : start + len(rows)] = softmax(logits, self.head.temperature)
            scores[start : start + len(rows)] = self.strangers.scores(rows, logits)
        return probs, scores

    def save(self, path: str | Path, *, slim: bool = False) -> str:
        """Write the bundle; returns the hash of all that decides its answers. Raises InputError or StorageError.

        slim: refer to the backbone by name instead of holding it.
        """
        from topwork.report import model_card, render
        from topwork.thumbnails import thumbnail

        path = Path(path)
        if slim and self.weights == "fine-tuned":
            raise InputError(f"{path}: slim names a network that everybody can get; this one was fine-tuned. Save it whole.")
        facts = {**self.facts, "name": path.name.removesuffix(".topwork")}
        config = {
            "topwork": __version__,
            "classes": list(self.classes),
            "backbone": self.spec.to_config(),
            "weights": self.weights,
            "engine": {"name": self.engine.name, "precision": self.engine.precision},
            "head": self.head.to_config(),
            "strangers": self.strangers.to_config(),
            "slim": slim,
        }
        texts = {
            "metrics.json": json.dumps(facts, indent=1, ensure_ascii=False),
            "splits.json": json.dumps(self.splits, indent=1),
            "report.html": render(facts, thumbnail),
            "README.md": model_card(facts),
        }
        # A file's name may be no text at all: then its bytes are spelled out.
        texts = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}
        tensors = {**self.head.to_tensors(), **self.strangers.to_tensors()}
        return write_bundle(path, config, tensors, {} if slim else self.parts, texts)

    @classmethod
    def load(cls, path: str | Path) -> Classifier:
        """The classifier of a bundle. Imports no torch unless the bundle's engine is torch. Raises BundleError.

        While a writer replaces the bundle, what comes back is wholly the old or wholly the new one.
        """
        for _ in range(LOADS):
            before = _mark(Path(path))
            bundle = read_bundle(Path(path))
            try:
                found = cls._opened(bundle)
            except Exception:  # an engine that finds no file raises what it likes
                if unchanged(bundle) and _mark(bundle.folder) == before:
                    raise
                continue
            if (
                unchanged(bundle) and _mark(bundle.folder) == before
            ):  # the engine opens its files again, after their hashes were checked
                return found
        raise BundleError(f"{path}: is being replaced again and again. Wait until its writer is done.")

    @classmethod
    def _opened(cls, bundle: Bundle) -> Classifier:
        path, config = bundle.folder, bundle.config
        try:
            spec = BackboneSpec.from_config(config["backbone"])
            head = read_head(config["head"], bundle.tensors)
            strangers = Strangers.from_parts(config["strangers"], bundle.tensors, head)
            classes = tuple(str(name) for name in config["classes"])
            name, precision = str(config["engine"]["name"]), str(config["engine"]["precision"])
            weights, slim = str(config["weights"]), bool(config["slim"])
        except (KeyError, TypeError, ValueError, BundleError) as error:
            reason = f"its config.json has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise BundleError(
                f"{path}: written by topwork {config.get('topwork', '?')}, and this is {__version__}, which cannot use it: "
                f"{reason}. Fit again, or install the topwork that wrote it."
            ) from error
        if slim:
            chosen = open_engine(spec.id, weights, name)
            if chosen.spec.fingerprint != spec.fingerprint:
                raise BundleError(f"{path}: the backbone {spec.id} here is not the one it was fitted with. Fit again.")
            engine, parts = chosen.engine, chosen.parts
        else:
            parts = bundle.parts
            try:
                engine = open_files(parts, name, precision, spec)
            except (KeyError, RuntimeError) as error:
                raise BundleError(f"{path}: {name} cannot open its engine file: {error}. Fit again.") from error
        facts: dict[str, Any] = {}
        splits: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads((bundle.folder / "metrics.json").read_text(encoding="utf-8"))
            splits = json.loads((bundle.folder / "splits.json").read_text(encoding="utf-8"))
        return cls(classes, spec, head, strangers, engine, parts, facts, splits, weights)

    def __repr__(self) -> str:
        return f"<Classifier of {len(self.classes)} classes on {self.spec.id}: {', '.join(self.classes[:6])}>"


def _mark(folder: Path) -> tuple[int, int] | None:
    """Tells a bundle's folder from one that took its place, though both say the same; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


@contextlib.contextmanager
def opened_store(spec: BackboneSpec, engine: Engine, keep: bool, mirrored: bool = False) -> Iterator[Store | None]:
    """The store for this backbone and precision; None when it is not wanted or its folder cannot be written."""
    store = None
    if keep:
        with contextlib.suppress(StorageError):
            note = f"{spec.id} {engine.precision}{' mirrored' if mirrored else ''}"
            store = Store(store_key(spec, engine, mirrored), note)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def extract_for(
    spec: BackboneSpec,
    engine: Engine,
    records: Records,
    keep: bool,
    progress: Progress | None = None,
    mirrored: bool = False,
) -> Extraction:
    """Features of records, through the store when `keep`."""
    with opened_store(spec, engine, keep, mirrored) as store:
        found = extract(records, spec, engine, store, progress, mirrored)
        if keep and store is None:
            found.warnings.append("the cache folder cannot be written: embeddings are not kept for the next time")
        return found


def second_looks(
    spec: BackboneSpec,
    engine: Engine,
    found: Extraction,
    keep: bool,
    rows: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """Features of the mirror images of `found` (or of its `rows`)."""
    chosen = range(len(found.table)) if rows is None else rows
    records = replace(found.records, rows=tuple(found.records.rows[row] for row in chosen))
    table = extract_for(spec, engine, records, keep, progress, mirrored=True).table
    if len(table) != len(records):
        raise InputError(f"{records.source}: pictures changed while they were read. Run again.")
    return table


def averaged(
    spec: BackboneSpec,
    engine: Engine,
    found: Extraction,
    keep: bool,
    rows: NDArray[np.int64] | None = None,
) -> FeatureTable:
    """The table of `found` (or of its `rows`), each picture's features averaged with those of its mirror image."""
    chosen = np.arange(len(found.table)) if rows is None else rows
    table = FeatureTable(spec.width)
    for start, mirror in second_looks(spec, engine, found, keep, rows).blocks():
        table.append((found.table.take(chosen[start : start + len(mirror)]) + mirror) * np.float32(0.5))
    return table
