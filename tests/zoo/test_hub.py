"""Weights of timm's hub and of Keras's bucket: fetched, kept, checked; and the one message where they cannot be had."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import save

from running import Cli
from topwork.errors import WeightsError
from topwork.zoo import keras_table, load_backbone
from topwork.zoo.keras_table import APPLICATIONS

NAME = "timm:test_resnet.r160_in1k"
KERAS = "keras:MobileNetV3Small"


class Hub:
    """A local stand-in for the hub's and the bucket's machine: real HTTP, files by their path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                content = hub.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the hub's library and of Keras for this test alone, and no proxy."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr(keras_table, "BUCKET", f"{hub.address}/")
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture
def nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a machine that does not answer."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{one.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(keras_table, "BUCKET", f"{address}/")
    return address


def hub_path(name: str = NAME) -> str:
    return f"/timm/{name.removeprefix('timm:')}/resolve/main/model.safetensors"


def published() -> bytes:
    return save(load_backbone(NAME, "random").network.state_dict())


def test_weights_are_fetched_once_and_checked_each_time(hub: Hub, home: Path, cli: Cli) -> None:
    """W4: a changed byte in the hub's cache is noticed."""
    content = hub.files[hub_path()] = published()
    done = cli("zoo", "get", NAME, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["fetched"] and found["bytes"] == len(content) and found["sha256"] == hashlib.sha256(content).hexdigest()
    assert Path(found["file"]).is_relative_to(home / "hub")
    asked = len(hub.asked)
    again = cli("zoo", "get", NAME)
    assert again.code == 0 and "was here" in again.out and len(hub.asked) == asked
    backbone = load_backbone(NAME)
    assert backbone.spec.weights_sha256 == load_backbone(NAME, "random").spec.weights_sha256
    shown = json.loads(cli("zoo", "show", NAME, "--json").out)
    assert shown["weights"]["here"] and shown["weights"]["sha256"] == found["sha256"]
    blob = Path(found["file"]).resolve()
    blob.chmod(0o644)
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    blob.write_bytes(changed)
    refused = cli("zoo", "get", NAME)
    assert refused.code == 1 and "changed or damaged" in refused.err and str(blob) in refused.err


def test_names_that_timm_knows_are_fitted_and_others_refused(hub: Hub) -> None:
    first = load_backbone(NAME, "random")
    state = {key: value.clone() for key, value in first.network.state_dict().items()}
    hub.files[hub_path()] = save({f"module.{key}": value for key, value in state.items()})
    assert load_backbone(NAME).spec.weights_sha256 == first.spec.weights_sha256
    hub.files[hub_path("timm:test_vit.r160_in1k")] = save(state)
    with pytest.raises(WeightsError, match=r"model\.safetensors: does not fit timm:test_vit"):
        load_backbone("timm:test_vit.r160_in1k")


def test_a_repository_of_pickles_is_not_fetched(hub: Hub, cli: Cli) -> None:
    hub.files["/timm/test_resnet.r160_in1k/resolve/main/pytorch_model.bin"] = b"pickle"
    done = cli("zoo", "get", NAME)
    assert done.code == 1 and "has no model.safetensors" in done.err and "--weights FILE" in done.err
    assert not [line for line in hub.asked if "bin" in line]
    assert cli("zoo", "get", "timm:legacy_seresnet18.in1k").err.count("pickle") == 1


@pytest.mark.parametrize("name", [NAME, KERAS, "vgg16"])
@pytest.mark.parametrize("way", ["no connection", "offline"])
def test_without_a_network_one_message_says_what_to_bring(
    name: str, way: str, nobody: str, home: Path, cli: Cli, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1" if way == "offline" else "0")
    for words in (("zoo", "get", name), ("embed", drawn, "-o", home / "x.npz", "-b", name)):
        done = cli(*words)
        assert done.code == 1 and done.out == ""
        assert done.err.count("\n") == 1, done.err
        address, place = re.findall(r"Bring (\S+) and put it at (\S+),", done.err)[0]
        assert address.startswith(nobody) and "--weights FILE" in done.err
        assert Path(place).is_relative_to(home) and not Path(place).exists()
    left = [file for file in home.rglob("*") if file.is_file() and "drawn" not in file.parts and file.suffix != ".json"]
    assert left == []  # nothing half-written; .json: the catalogue of networks


def test_a_file_put_where_the_message_says_is_used(nobody: str, home: Path, cli: Cli) -> None:
    place = Path(re.findall(r"put it at (\S+),", cli("zoo", "get", NAME).err)[0])
    place.parent.mkdir(parents=True)
    place.write_bytes(published())
    done = cli("zoo", "get", NAME)
    assert done.code == 0 and str(place) in done.out
    assert load_backbone(NAME).spec.classes == 1000


def test_keras_weights_are_fetched_and_held_against_keras_own_hash(
    hub: Hub, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = APPLICATIONS["MobileNetV3Small"]
    content = hub.files[f"/{row.path}"] = b"not what Keras publishes"
    done = cli("zoo", "get", KERAS)
    assert done.code == 1 and row.digest in done.err and "not the weights that Keras publishes" in done.err
    assert [file for file in (home / "cache" / "weights").rglob("*") if file.is_file()] == []
    monkeypatch.setitem(APPLICATIONS, "MobileNetV3Small", _with_digest(row, content))
    done = cli("zoo", "get", KERAS, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["fetched"] and Path(found["file"]).read_bytes() == content
    Path(found["file"]).write_bytes(b"changed since")
    assert "not the weights that Keras publishes" in cli("zoo", "get", KERAS).err


def test_weights_that_keras_fetched_itself_are_used(nobody: str, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"fetched by Keras"
    monkeypatch.setitem(APPLICATIONS, "MobileNetV3Small", _with_digest(APPLICATIONS["MobileNetV3Small"], content))
    file = home / "keras" / "models" / APPLICATIONS["MobileNetV3Small"].file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    done = cli("zoo", "get", KERAS)
    assert done.code == 0 and str(file) in done.out


def _with_digest(row: keras_table.Application, content: bytes) -> keras_table.Application:
    from dataclasses import replace

    return replace(row, digest=hashlib.md5(content, usedforsecurity=False).hexdigest())
