"""Backbones from Keras: the table against Keras itself, layers, weights in each format, a user's session left as it was."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seen import drawn_pixels

from topwork.errors import WeightsError
from topwork.features import engines
from topwork.zoo import from_keras, load_backbone, save_state
from topwork.zoo.backbone import Backbone
from topwork.zoo.keras_table import APPLICATIONS, MODES

SMALL = "keras:MobileNetV3Small"

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras itself, when it saves


@pytest.fixture(scope="module")
def small() -> Backbone:
    return load_backbone(SMALL, "random")


def images_of(backbone: Backbone) -> torch.Tensor:
    pixels = torch.from_numpy(drawn_pixels(backbone.spec.geometry.size))
    return pixels.permute(0, 3, 1, 2) / 255


def test_every_network_of_keras_is_in_the_table() -> None:
    keras = from_keras._keras()
    assert {name for name in dir(keras.applications) if name[0].isupper()} == APPLICATIONS.keys()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    """Every network's own preprocess_input, on all values a byte has."""
    keras = from_keras._keras()
    row = APPLICATIONS[name]
    pixels = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1).reshape(1, 16, 16, 3)
    oracle = getattr(keras.applications, row.family).preprocess_input(pixels.astype(np.float32))
    way = MODES[row.mode]
    found = (pixels / 255 - np.array(way.mean)) / np.array(way.std)
    found = found[..., ::-1] if way.channels == "BGR" else found
    np.testing.assert_allclose(found, oracle, atol=1e-4)


def test_layers_stages_and_classes(small: Backbone) -> None:
    names = small.layer_names()
    assert names[0] == "rescaling" and names[-1] == "predictions" and "expanded_conv_depthwise" in names
    assert len(set(names)) == len(names)
    assert [small.network.get_submodule(name) for name, _ in small.spec.stages]
    assert small.spec.classes == 1000 and small.spec.class_names[340] == "zebra"
    assert small.spec.parameters == 2_554_968  # as Keras's documentation has it: 2.6 M
    assert 55e6 < small.spec.multiply_adds < 58e6  # 56 M in the paper (Howard 2019)
    features = small(images_of(small))
    assert features.shape == (2, small.spec.width)
    last = features[:, small.spec.views["last"]]
    assert 0.01 < float(last.std()) < 100  # random weights are scaled: a MobileNet's would be 1e-12
    torch.testing.assert_close(features[:, small.spec.views["last+answers"]][:, -1000:].sum(1), torch.ones(2))


def test_hooks_see_each_layer_and_gradients_reach_the_pixels(small: Backbone) -> None:
    seen: list[tuple[int, ...]] = []
    hook = small.network.get_submodule("conv").register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape)))
    images = images_of(small).requires_grad_()
    small.logits(images)[:, 340].sum().backward()
    hook.remove()
    assert seen == [(2, 16, 112, 112)]
    assert images.grad is not None and float(images.grad.abs().sum()) > 0


def test_a_copy_is_whole_and_its_own(small: Backbone) -> None:
    images = images_of(small)
    before = small(images)
    other = copy.deepcopy(small)
    assert torch.equal(other(images), before)
    for parameter in other.parameters():
        parameter.data.zero_()
    assert torch.equal(small(images), before) and not torch.equal(other(images), before)


def test_names_and_weights_are_the_same_whatever_was_built_before() -> None:
    first, second = load_backbone("keras:MobileNet", "random"), load_backbone("keras:MobileNet", "random")
    assert first.layer_names() == second.layer_names()
    assert first.spec == second.spec


def test_the_users_own_session_is_left_alone(small: Backbone) -> None:
    import keras

    keras.utils.clear_session()
    keras.config.set_image_data_format("channels_last")
    before = keras.layers.Dense(3).name
    load_backbone(SMALL, "random")
    assert keras.config.image_data_format() == "channels_last" and keras.config.floatx() == "float32"
    assert (before, keras.layers.Dense(3).name) == ("dense", "dense_1")
    assert "KERAS_HOME" not in os.environ or os.environ["KERAS_HOME"] != str(Path(os.environ["TOPWORK_CACHE"]) / "keras")


def legacy_file(network: Any, file: Path) -> None:
    """The layout of the files that Keras publishes."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(file, "w") as handle:
        save_weights_to_hdf5_group(handle, network)


@pytest.mark.parametrize(
    "name",
    [
        SMALL,
        pytest.param("keras:ConvNeXtTiny", marks=pytest.mark.full),
        pytest.param("keras:EfficientNetB0", marks=pytest.mark.full),
        pytest.param("keras:DenseNet121", marks=pytest.mark.full),
        pytest.param("keras:Xception", marks=pytest.mark.full),
    ],
)
def test_each_format_of_weights_gives_the_same_network(name: str, tmp_path: Path) -> None:
    first = load_backbone(name, "random")
    images = images_of(first)
    expected = first(images)
    save_state(first, tmp_path / "own.safetensors")
    torch.save(first.network.state_dict(), tmp_path / "own.pth")
    first.network.whole.save_weights(str(tmp_path / "new.weights.h5"))
    legacy_file(first.network.whole, tmp_path / "old.h5")
    for file in ("own.safetensors", "own.pth", "new.weights.h5", "old.h5"):
        second = load_backbone(name, str(tmp_path / file))
        assert second.spec.fingerprint == first.spec.fingerprint, file
        assert torch.equal(second(images), expected), file


def test_a_file_of_another_network_is_refused(small: Backbone, tmp_path: Path) -> None:
    file = tmp_path / "small.weights.h5"
    small.network.whole.save_weights(str(file))
    with pytest.raises(WeightsError, match=r"small\.weights\.h5: .*does not fit"):
        load_backbone("keras:MobileNet", str(file))
    headless = from_keras._keras().Model(small.network.whole.inputs, small.network.whole.get_layer("re_lu_2").output)
    legacy_file(headless, tmp_path / "notop.h5")
    with pytest.raises(WeightsError, match=r"notop\.h5"):
        load_backbone(SMALL, str(tmp_path / "notop.h5"))


def test_engines_agree_on_a_keras_network(small: Backbone, tmp_path: Path) -> None:
    pixels = drawn_pixels(224)
    reference = engines.TorchEngine(small).infer(pixels)
    engines.convert_openvino(small, tmp_path / "model.xml")
    fast = engines.OpenVinoEngine(tmp_path / "model.xml")
    found = np.concatenate([fast.infer(picture[None]) for picture in pixels])
    np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-3)
    pytest.importorskip("onnxruntime")
    engines.export_onnx(small, tmp_path / "model.onnx")
    other = engines.OnnxRuntimeEngine(tmp_path / "model.onnx")
    found = np.concatenate([other.infer(picture[None]) for picture in pixels])
    np.testing.assert_allclose(found, reference, rtol=1e-3, atol=1e-3)
