"""Who is attacked: a bundle, or a backbone with the classes it was trained on; its answers by the ordinary way, its victim,
and the other engines that could run it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topwork.answers import Prediction
from topwork.classifier import Classifier, extract_for
from topwork.errors import TopworkError, UnknownName
from topwork.features.choose import open_engine
from topwork.features.engines import (
    Engine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
    TorchEngine,
    convert_openvino,
    export_onnx,
    openvino_precisions,
    usable,
)
from topwork.grafted import Grafted, VotingHead, grafted
from topwork.heads.neighbours import NeighbourHead
from topwork.pictures.sources import plain_records
from topwork.zoo import load_backbone
from topwork.zoo.spec import BackboneSpec

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

TOP = 5


@dataclass(frozen=True, eq=False)
class Subject:
    """What is attacked."""

    name: str
    classes: tuple[str, ...]
    spec: BackboneSpec
    engine: Engine
    """What runs it when it is asked."""
    graft: Grafted
    """The network as it answers."""
    search: Grafted
    """The network as an attack climbs it: the same, but with a head of neighbours every reference votes, since the nearest few
    have no gradient where they agree."""
    parts: dict[str, Path]
    classifier: Classifier | None
    """None for a backbone."""

    def answers(self, files: Sequence[Path]) -> list[Prediction]:
        """What `topwork predict` says of files."""
        if self.classifier is not None:
            return list(self.classifier.predict(list(files), top=TOP))
        with plain_records(list(files)) as records:
            found = extract_for(self.spec, self.engine, records, keep=False)
        bad = {one["path"]: f"{one['reason']}: {one['detail']}" for one in found.broken}
        rows = iter(row[-self.spec.answers :] for _, block in found.table.blocks() for row in block)
        return [self._answer(path, None if str(path) in bad else next(rows), bad.get(str(path))) for path in records.paths]

    def _answer(self, path: Path, probs: NDArray[np.float32] | None, error: str | None) -> Prediction:
        if probs is None:
            return Prediction(str(path), None, None, False, [], None, error)
        order = np.argsort(-probs, kind="stable")[:TOP]
        ranking = [{"label": self.classes[place], "probability": round(float(probs[place]), 6)} for place in order]
        return Prediction(str(path), ranking[0]["label"], ranking[0]["probability"], False, ranking)

    def run_by(self, engine: Engine) -> Subject:
        """The same, run by another engine."""
        classifier = None if self.classifier is None else replace(self.classifier, engine=engine)
        return replace(self, engine=engine, classifier=classifier)

    def report(self, attack: dict[str, Any]) -> None:
        """Write what an attack gave into the bundle's report and metrics. Raises StorageError."""
        if self.classifier is None:
            raise ValueError("a backbone has no report")
        slim = self.parts.get("backbone.safetensors", Path(self.name) / "x").parent != Path(self.name)
        replace(self.classifier, facts={**self.classifier.facts, "attack": attack}).save(self.name, slim=slim)

    def class_of(self, name: str) -> str:
        """The class that a person or a folder names. Raises UnknownName."""
        found = self.known(name)
        if found is None:
            raise UnknownName("class", name, self.classes)
        return found

    def known(self, name: str) -> str | None:
        """As `class_of`, None for no class. Exactly, in other case or spelling, or by ImageNet's number or id."""
        if name in self.classes:
            return name
        plain = {_plain(one): one for one in reversed(self.classes)}
        if _plain(name) in plain:
            return plain[_plain(name)]
        if self.classifier is not None:
            return None
        number = name.partition("-")[0]
        if number.isdecimal() and int(number) < len(self.classes):
            return self.classes[int(number)]
        if number[:1] == "n" and number[1:].isdecimal() and len(self.classes) == 1000:
            from timm.data.imagenet_info import ImageNetInfo

            ids = list(ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
            return self.classes[ids.index(number)] if number in ids else None
        return None


def open_subject(bundle: Path | None, backbone: str = "lite0", weights: str = "pretrained") -> Subject:
    """The bundle, or else the backbone with its own classes. Raises BundleError, UnknownName, WeightsError, InputError."""
    if bundle is not None:
        return subject_of(Classifier.load(bundle), str(bundle))
    graft = grafted(load_backbone(backbone, weights))
    chosen = open_engine(backbone, weights)
    return Subject(backbone, graft.classes, chosen.spec, chosen.engine, graft, graft, chosen.parts, None)


def subject_of(classifier: Classifier, name: str) -> Subject:
    """A classifier to attack. Raises BundleError and WeightsError as `topwork.grafted.grafted`."""
    graft = grafted(classifier)
    search = graft
    if isinstance(classifier.head, NeighbourHead):
        voting = VotingHead(classifier.head, every=True)
        search = Grafted(graft.backbone, voting, graft.classes, graft.mirrored)
    return Subject(name, classifier.classes, classifier.spec, classifier.engine, graft, search, classifier.parts, classifier)


def engines(subject: Subject) -> Iterator[tuple[str, Engine]]:
    """(name, engine) of all engines this machine can run the subject with: its own first, then the others."""
    own = subject.engine
    yield f"{own.name} {own.precision}", own
    backbone = subject.graft.backbone
    if own.name != "torch":
        yield "torch f32", TorchEngine(backbone, batch=1)
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        # An engine that cannot be made for this network is none of its engines.
        with contextlib.suppress(TopworkError, RuntimeError):
            model = _file(subject, "model.xml", Path(folder), convert_openvino)
            for precision in openvino_precisions():
                if (own.name, own.precision) != ("openvino", precision):
                    yield f"openvino {precision}", OpenVinoEngine(model, precision)
        if own.name != "onnxruntime" and usable("onnxruntime"):
            with contextlib.suppress(TopworkError, RuntimeError):
                yield "onnxruntime f32", OnnxRuntimeEngine(_file(subject, "model.onnx", Path(folder), export_onnx))


def _file(subject: Subject, name: str, folder: Path, write: Callable[[Backbone, Path], None]) -> Path:
    """The subject's own engine file, or one written into `folder`."""
    model = subject.parts.get(name)
    if model is None:
        model = folder / name
        write(subject.graft.backbone, model)
    return model


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
