"""Keras's weight files, written by Keras itself: read without Keras, and given to its networks as Keras would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")

from reading import read_weights  # noqa: E402

from topwork.errors import WeightsError  # noqa: E402
from topwork.zoo.weights import open_weights  # noqa: E402
from topwork.zoo.weights.keras_names import fill_keras  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, with torch

NETWORKS = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121"]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    import logging

    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras says that .h5 is old


def small() -> Any:
    """A network with nested, repeated, counting and normalising layers."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="pictures"),
            keras.layers.Normalization(name="scale"),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.Sequential([keras.layers.SeparableConv2D(5, 3), keras.layers.LayerNormalization()], name="inner"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(3, name="answers"),
        ]
    )


def shaken(network: Any, seed: int = 0) -> Any:
    """The network with numbers of its own in every variable."""
    rng = np.random.default_rng(seed)
    network.set_weights([rng.uniform(0.1, 1, value.shape).astype(value.dtype) for value in network.get_weights()])
    return network


def as_applications_have_it(network: Any, file: Path, text: Callable[[str], Any] = str.encode) -> None:
    """Write the older `.h5` of weights alone: two lists of names as attributes, and a group per layer."""
    with h5py.File(file, "w") as handle:
        layers = [layer for layer in network.layers if layer.weights]
        handle.attrs["layer_names"] = [text(layer.name) for layer in network.layers]
        handle.attrs["keras_version"] = "2.2.4"
        for layer in network.layers:
            group = handle.create_group(layer.name)
            weights = layer.trainable_weights + layer.non_trainable_weights if layer in layers else []
            names = [f"{layer.name}/{number}_{weight.name}:0" for number, weight in enumerate(weights)]
            group.attrs["weight_names"] = [text(name) for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = keras.ops.convert_to_numpy(weight)


def same(first: Any, second: Any) -> None:
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def filled(network: Any, file: Path) -> Any:
    with open_weights(file) as opened:
        fill_keras(network, opened)
    return network


@pytest.mark.parametrize("ending", ["weights.h5", "h5", "whole.h5", "long.h5"])
def test_each_of_its_files_fills_the_network(tmp_path: Path, ending: str) -> None:
    network = shaken(small())
    file = tmp_path / f"net.{ending}"
    if ending == "weights.h5":
        network.save_weights(file)
    elif ending == "whole.h5":
        network.save(file)
    else:
        as_applications_have_it(network, file, str if ending == "long.h5" else str.encode)
    other = filled(shaken(small(), seed=1), file)
    same(network, other)
    pictures = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    np.testing.assert_allclose(network.predict(pictures, verbose=0), other.predict(pictures, verbose=0), rtol=1e-6)


def test_what_is_read_is_what_the_hdf5_library_reads(tmp_path: Path) -> None:
    network = shaken(keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(96, 96, 3)))
    network.save_weights(tmp_path / "net.weights.h5")
    found = read_weights(tmp_path / "net.weights.h5")
    reference: dict[str, Any] = {}
    with h5py.File(tmp_path / "net.weights.h5") as handle:
        handle.visititems(lambda name, item: reference.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    assert found.keys() == reference.keys()
    for name, value in reference.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_applications(name: str, tmp_path: Path) -> None:
    kinds = {"MobileNet": {"alpha": 0.25}, "MobileNetV2": {"alpha": 0.35}}.get(name, {})
    make = getattr(keras.applications, name)
    network = shaken(make(weights=None, **kinds))
    network.save_weights(tmp_path / "a.weights.h5")
    as_applications_have_it(network, tmp_path / "b.h5")
    for file in ("a.weights.h5", "b.h5"):
        same(network, filled(make(weights=None, **kinds), tmp_path / file))


def test_layers_of_another_name_go_by_their_order(tmp_path: Path) -> None:
    network = shaken(small())
    as_applications_have_it(network, tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as handle:
        handle.move("answers", "pre/dictions")
        names = [str(name) for name in handle.attrs["layer_names"].astype(str)]
        handle.attrs["layer_names"] = [b"pre/dictions" if name == "answers" else name.encode() for name in names]
    same(network, filled(small(), tmp_path / "net.h5"))


def test_lists_too_long_for_one_attribute(tmp_path: Path) -> None:
    """Keras cuts them into layer_names0, layer_names1, ..."""
    network = shaken(small())
    as_applications_have_it(network, tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as handle:
        names = list(handle.attrs["layer_names"])
        del handle.attrs["layer_names"]
        handle.attrs["layer_names0"], handle.attrs["layer_names1"] = names[:3], names[3:]
    same(network, filled(small(), tmp_path / "net.h5"))


def test_a_file_of_another_network_is_told(tmp_path: Path) -> None:
    network = small()
    network.save_weights(tmp_path / "a.weights.h5")
    as_applications_have_it(network, tmp_path / "b.h5")
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 5), keras.layers.Dense(3)], name="other")
    before = other.get_weights()
    with pytest.raises(WeightsError, match=r"a\.weights\.h5: it does not fit other: 12 unknown.*vars/0 is .* expected"):
        filled(other, tmp_path / "a.weights.h5")
    with pytest.raises(WeightsError, match=r"b\.h5: it does not fit other: it has 5 layers with tensors, expected 2"):
        filled(other, tmp_path / "b.h5")
    np.testing.assert_array_equal(before[0], other.get_weights()[0])


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = shaken(small())
    weights = network.get_weights()
    weights[-1][0] = np.nan
    network.set_weights(weights)
    network.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(WeightsError, match=r"layers/dense/vars/1 has values that are not finite"):
        filled(small(), tmp_path / "a.weights.h5")


def test_a_torch_file_is_no_keras_file(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: its format is torch.*expected \.weights\.h5 or \.h5"):
        filled(small(), tmp_path / "w.pth")


def test_the_code_in_a_whole_network_is_not_read(tmp_path: Path) -> None:
    """A saved network describes itself, code and all; its tensors are read and the description is not."""
    network = shaken(small())
    network.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as handle:
        handle.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": "no base64 at all"}}'
    same(network, filled(small(), tmp_path / "net.h5"))
