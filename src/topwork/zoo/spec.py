"""What is known of a backbone without loading it: its name, its preprocessing, its features, its weights' hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError
from topwork.pictures.decode import DECODER_VERSION, Geometry

VIEWS = ("last", "last+answers", "last+stages", "stages")
"""The choices of features that a head may see."""

STAGES_SEEN = 5
"""A head sees the pooled means of this many last stages; earlier ones are edges and colours."""

ANSWERS_MOST = 2000
"""The answers of a network with more classes are left out of the features: a row stays short."""

_TOLD_ONLY = {"id", "licence", "weights", "parameters", "multiply_adds", "classes", "label_set"}
"""What changes no number of a row."""


@dataclass(frozen=True)
class BackboneSpec:
    """A pretrained network without its classifier, as bundle, store and engines know it.

    A row of features is the pooled mean of each stage, in order of depth, then the last features, then the probabilities of
    the classes the network was trained on.
    """

    id: str
    """As the user names it: lite0, timm:resnet50, keras:VGG16."""
    architecture: str
    """The library's own full name, with its tag."""
    library: str
    """Where the architecture comes from: timm, keras."""
    geometry: Geometry
    mean: tuple[float, float, float]
    """Of the channels R, G, B in [0, 1]; normalisation happens inside the backbone."""
    std: tuple[float, float, float]
    """As `mean`. A network made for 0 to 255 that scales itself has mean 0 and std 1/255."""
    stages: tuple[tuple[str, int], ...]
    """(layer name, channels) of each stage."""
    dim: int
    """Width of the last features."""
    answers: int
    """Answers in a row of features: the classes the network was trained on; 0 where it has none, or more than ANSWERS_MOST."""
    parameters: int
    licence: str
    weights: str
    """Where the weights come from, in words."""
    weights_sha256: str
    """Of the tensors that were loaded: names, shapes and bytes in order."""
    channels: Literal["RGB", "BGR"] = "RGB"
    """The order of channels that the network was trained with; the backbone turns them after normalising."""
    multiply_adds: int = 0
    """Of one picture through the network."""
    classes: int = 0
    """Classes the network was trained on; 0 where it has no classifier of its own."""
    label_set: str = ""
    """The list their names are in, see `topwork.zoo.labels`; empty where they have no known names."""

    @property
    def width(self) -> int:
        """Width of a whole row of features."""
        return sum(channels for _, channels in self.stages) + self.dim + self.answers

    @property
    def views(self) -> dict[str, NDArray[np.int64]]:
        """Columns of each choice of features: last, last+answers, last+stages, stages; those that there are."""
        columns = np.arange(self.width, dtype=np.int64)
        end = self.width - self.answers
        start = end - self.dim
        seen = start - sum(channels for _, channels in self.stages[-STAGES_SEEN:])
        found = {"last": columns[start:end]}
        if self.answers:
            found["last+answers"] = columns[start:]
        if self.stages:
            found |= {"last+stages": columns[seen:end], "stages": columns[seen:start]}
        return found

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes the network was trained on, in the order of its logits."""
        from topwork.zoo.labels import class_names

        return class_names(self.label_set, self.classes)

    @property
    def fingerprint(self) -> str:
        """Of all that changes the numbers of a row but the engine: network, weights, preprocessing, decoder."""
        facts = {key: value for key, value in self.to_config().items() if key not in _TOLD_ONLY}
        return hashlib.sha256(json.dumps({**facts, "decoder": DECODER_VERSION}, sort_keys=True).encode()).hexdigest()

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BackboneSpec:
        """From what `to_config` gave. Raises BundleError when a part is missing or of another kind."""
        try:
            given = dict(config)
            given["geometry"] = Geometry(**given["geometry"])
            given["mean"], given["std"] = tuple(given["mean"]), tuple(given["std"])
            given["stages"] = tuple((str(name), int(channels)) for name, channels in given["stages"])
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the description of the backbone is damaged: {error}.") from error
