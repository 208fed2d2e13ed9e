"""What all steps of a fine-tune share: the probe, its pictures, the network, and where learning starts from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.classifier import Classifier
from topwork.errors import InputError, WeightsError
from topwork.features.engines import cuda_available
from topwork.features.extract import Progress
from topwork.finetune.adversarial import hardening
from topwork.finetune.ground import Ground
from topwork.finetune.learner import HeadLayer, Learner
from topwork.finetune.reading import Seen, probe_again
from topwork.finetune.settings import FinetuneSettings
from topwork.fitting import sample_of
from topwork.heads.designs import design
from topwork.heads.head import Head
from topwork.pictures.decode import Pixels
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]
Say = Callable[[str], None]

Fresh = Callable[[Head, Rows], Learner]
"""(head, rows that it was fitted to) -> what learns, as it was before anything was learned."""


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

    def probe(self, rows: Rows) -> Head:
        """The classifier's recipe for a head, fitted to some rows."""
        return probe_again(self.classifier, self.seen, rows, self.settings.seed)

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


def job_of(
    classifier: Classifier, seen: Seen, settings: FinetuneSettings, say: Say, progress: Progress | None, began: float
) -> Job:
    """The job of fine-tuning a classifier on the pictures that were read since `began`. Raises WeightsError, InputError."""
    if settings.device == "cuda" and not cuda_available():
        raise InputError("--device cuda: there is no GPU that torch can use here. Leave it out.")
    seconds = {"pictures": time.perf_counter() - began}
    began = time.perf_counter()
    if "backbone.safetensors" not in classifier.parts:
        raise WeightsError(f"{classifier.spec.id}: the bundle holds no backbone to train on. Fit again without --slim.")
    backbone = load_backbone(classifier.spec.id, str(classifier.parts["backbone.safetensors"]))
    start = probe_again(classifier, seen, seen.learn, settings.seed)
    seconds["head to start from"] = time.perf_counter() - began
    return Job(classifier, seen, settings, backbone, start, say, progress, {}, seconds)
