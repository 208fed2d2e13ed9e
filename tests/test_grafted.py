"""A classifier as one torch network gives the classifier's own numbers, and gradients that are finite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from topwork import Classifier
from topwork.errors import BundleError, InputError
from topwork.features.extract import second_look
from topwork.grafted import LinearHead, VotingHead, grafted, original_classes, transformed
from topwork.heads.head import Head
from topwork.heads.neighbours import NeighbourHead
from topwork.pictures.decode import decode, read_bytes, to_pixels
from topwork.zoo import load_backbone


def looks(files: list[Path], classifier: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and second looks (N, 3, H, W) of files, as the classifier sees them."""
    geometry = classifier.spec.geometry
    images = [decode(read_bytes(file), wanted=geometry).image for file in files]
    first = np.stack([to_pixels(image, geometry) for image in images])
    second = np.stack([second_look(image, geometry) for image in images])
    return tuple(torch.from_numpy(one).permute(0, 3, 1, 2).float() / 255 for one in (first, second))  # type: ignore[return-value]


def close(classifier: Classifier) -> float:
    """How far from float32 torch the probabilities of the engine that was chosen here may be."""
    return 1e-4 if classifier.engine.precision == "f32" else 2e-2


def same_answers(classifier: Classifier, files: list[Path]) -> float:
    """The largest difference between the network's probabilities and those of `predict`."""
    first, second = looks(files, classifier)
    with torch.inference_mode():
        probs = grafted(classifier).probs(first, second).numpy()
    return float(np.abs(probs - classifier.predict(files).probs).max())


def test_probabilities_are_those_of_predict(bundle: Path, painted: Path) -> None:
    classifier = Classifier.load(bundle)
    assert same_answers(classifier, sorted(painted.glob("*/0*.png"))[::5]) < close(classifier)


@pytest.mark.photos
def test_probabilities_are_those_of_predict_on_photos(photos: Path, warm: Path) -> None:
    pictures = {name: sorted((photos / "cats-vs-dogs" / "train" / name).iterdir())[:40] for name in ("cat", "dog")}
    pairs = [(file, name) for name, files in pictures.items() for file in files]
    classifier = Classifier.fit(pairs, engine="onnxruntime")  # float32 on every machine
    files = sorted((photos / "cats-vs-dogs" / "test").glob("*/*"))[::60]
    assert same_answers(classifier, files) < 1e-4
    if isinstance(classifier.head, Head):
        both_looks = dataclasses.replace(classifier.head, mirrored=not classifier.head.mirrored)
        assert same_answers(dataclasses.replace(classifier, head=both_looks), files) < 1e-4


@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_a_linear_head_in_torch_is_the_head(transform: str) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 7)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    head = Head("logistic", "last", np.arange(2, 9), 10, False, transform, weight, bias, temperature=1000.0)
    features = rng.normal(size=(5, 10)).astype(np.float32)
    assert np.allclose(LinearHead(head)(torch.from_numpy(features)).numpy(), head.logits(features) / 1000, atol=1e-6)


@pytest.fixture
def neighbours() -> NeighbourHead:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return NeighbourHead("last", np.arange(6), 6, "sqrt", rows, np.arange(12) % 3, 3, neighbours=4)


def test_a_head_of_neighbours_in_torch_is_the_head(neighbours: NeighbourHead) -> None:
    features = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    found = VotingHead(neighbours)(torch.from_numpy(features)).numpy()
    assert np.allclose(found, neighbours.logits(features), atol=1e-4)


def test_when_every_reference_votes_each_class_has_a_gradient(neighbours: NeighbourHead) -> None:
    features = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    for place in range(3):
        leaf = features.clone().requires_grad_(True)
        VotingHead(neighbours, every=True)(leaf)[:, place].sum().backward()
        assert leaf.grad is not None and (leaf.grad.abs().sum(1) > 0).all()


def test_the_root_of_nothing_has_a_finite_gradient() -> None:
    leaf = torch.tensor([[0.0, 0.25, -0.25]], requires_grad=True)
    transformed(leaf, "sqrt").sum().backward()
    assert leaf.grad is not None and torch.allclose(leaf.grad, torch.tensor([[0.0, 1.0, 1.0]]))


def test_a_backbone_has_its_original_classes() -> None:
    backbone = load_backbone()
    network = grafted(backbone)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(images), backbone.logits(images))
    assert network.classes[340] == "zebra" and network.classes[281] == "tabby"


def test_every_original_class_has_a_name_of_its_own() -> None:
    names = original_classes(load_backbone().spec.class_names)
    assert len(set(names)) == 1000
    assert {"crane 134", "crane 517"} < set(names)
    assert original_classes(("a, b", "a", "a, c")) == ("b", "a", "c")


def test_a_backbone_without_classes_is_told() -> None:
    backbone = load_backbone("timm:resnet18", "random")
    backbone.spec = dataclasses.replace(backbone.spec, classes=0)
    with pytest.raises(InputError, match="has no classes of its own"):
        grafted(backbone)


def test_other_weights_than_those_fitted_with_are_refused(bundle: Path) -> None:
    classifier = Classifier.load(bundle)
    other = dataclasses.replace(classifier, spec=dataclasses.replace(classifier.spec, weights_sha256="0" * 64))
    with pytest.raises(BundleError, match="weights_sha256"):
        grafted(other)


def test_large_logits_leave_a_gradient(bundle: Path, painted: Path) -> None:
    """Those of a linear discriminant, before the temperature, can be a thousand times as large as after it."""
    classifier = Classifier.load(bundle)
    width, rng = classifier.spec.width, np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, width)).astype(np.float32), np.zeros(4, np.float32)
    cool = Head("logistic", "last", np.arange(width), width, False, "none", weight, bias)
    hot = dataclasses.replace(cool, weight=weight * 1000, temperature=1000.0)
    images = looks(sorted(painted.glob("*/00.png"))[:2], classifier)[0].requires_grad_(True)
    slopes = []
    for head in (cool, hot):
        logits = grafted(dataclasses.replace(classifier, head=head))(images)
        loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1))
        slopes.append(torch.autograd.grad(loss, images)[0])
    assert slopes[0].abs().max() > 0
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-3, atol=1e-3 * float(slopes[0].abs().max()))
