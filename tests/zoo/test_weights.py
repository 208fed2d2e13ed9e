"""Weight files that are what they should be: what is declared, what is read, what a network takes of it."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from reading import read_weights
from safetensors.torch import save_file
from torch import nn

from topwork.errors import WeightsError
from topwork.zoo import load_backbone
from topwork.zoo.weights import open_weights
from topwork.zoo.weights.matching import Taken, Wanted, fitted

SMALL = "timm:mobilenetv3_small_050"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """Tensors of every kind that networks have."""
    torch.manual_seed(0)
    wide = torch.randn(6, 8)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "last.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "turned": wide.t(),
        "part": wide[1:4, 2:7:2],
        "one": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "half": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "double": torch.randn(5).double(),
        "steps": torch.tensor(7),
        "small": torch.tensor([-3, 4], dtype=torch.int8),
        "mask": torch.tensor([True, False, True]),
    }


def same(found: dict[str, np.ndarray], state: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(state)
    for name, tensor in state.items():
        expected = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert found[name].dtype == expected.numpy().dtype, name
        np.testing.assert_array_equal(found[name], expected.numpy(), err_msg=name)


def test_a_torch_file_gives_what_torch_gives(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "w.pth"
    torch.save(state, file)
    same(read_weights(file), state)
    reference = torch.load(file, weights_only=True)
    assert all(torch.equal(reference[name], tensor) for name, tensor in state.items())


def test_a_safetensors_file_gives_what_it_was_given(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "w.safetensors"
    plain = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    save_file(plain, file, metadata={"format": "pt"})
    found = read_weights(file)
    same({name: found[name] for name in plain}, plain)


def test_the_old_layout_of_torch_is_read_only_where_its_hash_is_known(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    import hashlib

    file = tmp_path / "w.pth"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"w\.pth: it is in the layout of torch before 1\.6.*write it anew"):
        read_weights(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    same(read_weights(file, digest), state)
    with pytest.raises(WeightsError, match="not the published ones"):
        read_weights(file, "0" * 64)


def test_what_is_declared_is_known_before_anything_is_read(tmp_path: Path) -> None:
    """A file of 2 GB that is nearly all hole: its shapes are told at once, and it does not fit for its shape."""
    file = tmp_path / "w.safetensors"
    size = 2_000_000_000
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with file.open("wb") as handle:
        handle.write(len(header).to_bytes(8, "little") + header)
        handle.truncate(8 + len(header) + size)
    with open_weights(file) as opened:
        assert opened.tensors["w"].shape == (size // 4,)
    with (
        pytest.raises(WeightsError, match=r"w is \(500000000,\), expected \(4,\)"),
        open_weights(file) as opened,
    ):
        fitted(opened, {"w": Wanted((4,), "float32")}, "a network")


@pytest.mark.parametrize("wrap", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "model."])
def test_what_training_programs_wrap_around_is_taken_off(tmp_path: Path, wrap: str, prefix: str) -> None:
    backbone = load_backbone(SMALL, "random")
    state = backbone.network.state_dict()
    extra = {"epoch": 3, "best": 0.5, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}}
    inner = OrderedDict((prefix + name, tensor) for name, tensor in state.items())
    torch.save({**extra, wrap: inner}, tmp_path / "w.ckpt")
    assert load_backbone(SMALL, str(tmp_path / "w.ckpt")).spec.fingerprint == backbone.spec.fingerprint


def test_parameters_and_metadata_are_no_hindrance(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = network.state_dict()
    assert state._metadata  # type: ignore[attr-defined]  # torch saves it with the state
    torch.save(state, tmp_path / "a.pth")
    torch.save(dict(network.named_parameters()), tmp_path / "b.pth")
    assert list(read_weights(tmp_path / "a.pth")) == list(state)
    found = read_weights(tmp_path / "b.pth")
    np.testing.assert_array_equal(found["0.weight"], state["0.weight"].numpy())


def test_every_fault_of_fit_is_told_at_once(tmp_path: Path) -> None:
    state = load_backbone(SMALL, "random").network.state_dict()
    state["other.weight"] = torch.zeros(3)
    state["bn1.weight"] = state["bn1.weight"].to(torch.int32)
    state["conv_head.weight"] = torch.zeros(5, 4, 1, 1)
    del state["classifier.bias"]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_backbone(SMALL, str(tmp_path / "w.safetensors"))
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'w.safetensors'}: it does not fit mobilenetv3_small_050")
    for part in (
        "1 of 244 tensors missing (classifier.bias)",
        "1 unknown (other.weight)",
        "conv_head.weight is (5, 4, 1, 1), expected (1024, 288, 1, 1)",
        "bn1.weight is int32, expected float32",
    ):
        assert part in told, told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = load_backbone(SMALL, "random").network.state_dict()
    state["conv_head.bias"] = state["conv_head.bias"].double()
    state["conv_head.bias"][5] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: conv_head\.bias has values that are not finite"):
        load_backbone(SMALL, str(tmp_path / "w.pth"))


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    backbone = load_backbone(SMALL, "random")
    state = {n: t for n, t in backbone.network.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    assert load_backbone(SMALL, str(tmp_path / "w.safetensors")).spec.fingerprint == backbone.spec.fingerprint


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    backbone = load_backbone(SMALL, "random")
    state = {name: t.half() if t.is_floating_point() else t for name, t in backbone.network.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    found = load_backbone(SMALL, str(tmp_path / "w.safetensors")).network.state_dict()
    assert all(tensor.dtype == backbone.network.state_dict()[name].dtype for name, tensor in found.items())
    torch.testing.assert_close(found["conv_stem.weight"], state["conv_stem.weight"].float(), rtol=0, atol=0)


def test_a_plan_renames_reshapes_and_adds(tmp_path: Path) -> None:
    save_file({"a": torch.arange(6.0), "b": torch.ones(2)}, tmp_path / "w.safetensors")
    wanted = {"x": Wanted((2, 3), "float32"), "y": Wanted((2,), "float32")}
    plan = {"x": Taken("a", reshape=True), "y": Taken("b", plus=0.5)}
    with open_weights(tmp_path / "w.safetensors") as file:
        found = dict(fitted(file, wanted, "a network", plan))
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["y"].tolist() == [1.5, 1.5]


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    kinds = {"none.pth": "no such weight file", ".": "found a folder"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        kinds["pipe"] = "found a device or pipe"
    for name, told in kinds.items():
        with pytest.raises(WeightsError, match=told):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_one_flipped_byte_of_the_published_weights_is_found(name: str, tmp_path: Path) -> None:
    _flips(name, tmp_path, 4)


@pytest.mark.full
def test_200_flipped_bytes_of_the_published_weights_are_found(tmp_path: Path) -> None:
    _flips("lite0", tmp_path, 200)


def _flips(name: str, tmp_path: Path, count: int) -> None:
    """W4: a copy of the installed weights with one byte changed, anywhere, is refused before anything of it is used."""
    from topwork.zoo import from_timm
    from topwork.zoo.names import resolve

    named = resolve(name)
    assert named.short is not None
    package = named.short.package
    assert package is not None
    file = package.file(name)
    good, copy = file.read_bytes(), tmp_path / file.name
    copy.write_bytes(good)
    rng = np.random.default_rng(0)
    places = [0, len(good) - 1, *rng.integers(0, len(good), count - 2).tolist()]
    for place in places:
        with copy.open("r+b") as handle:
            handle.seek(place)
            handle.write(bytes([good[place] ^ (1 << int(rng.integers(8)))]))
            handle.flush()
            with pytest.raises(WeightsError, match="not the published ones"):
                from_timm.build(named.network, name, copy, package.sha256)
            handle.seek(place)
            handle.write(good[place : place + 1])
    with open_weights(copy, package.sha256) as opened:
        assert len(opened.tensors) > 200
