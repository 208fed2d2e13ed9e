"""What `look` and `explain` ask of a network, opened: its stages, its reasons, its slopes.

Each of the three is written down once as a graph, kept, and run by OpenVINO: from then on neither torch nor the network's own
library is imported, which takes longer than all the rest. Where an operation has no counterpart there, torch runs the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.classifier import Classifier
from topwork.errors import StorageError
from topwork.features.engines import usable
from topwork.frozen.keeping import GRAPH, keep, kept_folder, told_with
from topwork.look.pixels import Slopes
from topwork.look.sight import Reasons, Stages, asked_by, slopes_by
from topwork.zoo import identity
from topwork.zoo.spec import BackboneSpec

if TYPE_CHECKING:
    from topwork.look.traced import Traced


def open_stages(source: str | Classifier, weights: str = "pretrained") -> Stages:
    """The stages of a backbone by its name, or of a classifier's. Imports torch only where no graph is kept.

    Raises BundleError, UnknownName or WeightsError.
    """

    def make() -> Traced:
        from topwork.look.maps import opened
        from topwork.look.traced import traced_stages

        return traced_stages(opened(source, weights))

    known = {"backbone": source.spec.fingerprint} if isinstance(source, Classifier) else identity(source, weights)
    told, ask = _opened({"kind": "stages", **known}, make, asked_by)
    filters = [np.array(one, np.float32) for one in told["filters"]]
    return Stages(BackboneSpec.from_config(told["spec"]), tuple(told["answers"]), filters, ask)


def open_reasons(source: str | Classifier, weights: str = "pretrained") -> Reasons:
    """The reasons of a classifier, or of a backbone by its name with its original classes. As `open_stages`.

    Raises InputError, too: for a backbone without classes.
    """

    def make() -> Traced:
        from topwork.look.judges import network_of
        from topwork.look.traced import traced_reasons

        return traced_reasons(network_of(source, weights))

    told, ask = _opened({"kind": "reasons", **_identity(source, weights)}, make, asked_by)
    return Reasons(BackboneSpec.from_config(told["spec"]), tuple(told["classes"]), told["mirrored"], told["layer"], ask)


def open_slopes(source: str | Classifier, weights: str = "pretrained", every_vote: bool = False) -> Slopes:
    """The logits of a classifier or backbone and their gradients, in float32. As `open_reasons`.

    every_vote: of a head of neighbours, whose answer changes at once where the nearest do: all vote, and smoothly.
    """

    def make() -> Traced:
        from topwork.look.judges import network_of
        from topwork.look.traced import traced_slopes

        return traced_slopes(network_of(source, weights, every_vote), level=every_vote)

    known = {"kind": "slopes", "every_vote": str(every_vote), **_identity(source, weights)}
    slopes: Slopes = _opened(known, make, slopes_by)[1]
    return slopes


def _opened(
    known: Mapping[str, str], make: Callable[[], Traced], by: Callable[[Any, Mapping[str, Any]], Any]
) -> tuple[Mapping[str, Any], Any]:
    """(what is told of a network, what asks it): `by` the graph that is kept for what is known of it, else made now."""
    folder = None
    if usable("openvino"):
        with contextlib.suppress(StorageError):  # then it is made each time
            folder = kept_folder("sights", known)
            if told := told_with(folder):
                return told, by(folder / GRAPH, told)
    traced = make()
    if traced.model is not None and folder is not None:
        with contextlib.suppress(StorageError):
            keep(folder, traced.model, 2 * 4 * traced.told["spec"]["parameters"], traced.told)
    return traced.told, traced.asks


def _identity(source: str | Classifier, weights: str) -> dict[str, str]:
    """What decides the answers of a classifier, or of a backbone."""
    if isinstance(source, str):
        return identity(source, weights)
    digest = hashlib.sha256(json.dumps(source.head.to_config(), sort_keys=True).encode())
    for name, tensor in sorted(source.head.to_tensors().items()):
        digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode() + np.ascontiguousarray(tensor).tobytes())
    return {"backbone": source.spec.fingerprint, "head": digest.hexdigest(), "classes": json.dumps(source.classes)}
