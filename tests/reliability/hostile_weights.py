"""Weight files that mean harm, or are broken in a way that others have fallen for, of many kinds.

Those that can run code try to make the file `marker`. `hostile_files` makes them all in a folder.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


class Evil:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, marker: Path, way: str = "system") -> None:
        self.marker, self.way = marker, way

    def __reduce__(self) -> tuple[Any, ...]:
        if self.way == "eval":
            return eval, (f"open({str(self.marker)!r}, 'w')",)
        if self.way == "open":
            return open, (str(self.marker), "w")
        return os.system, (f"touch '{self.marker}'",)


class Stateful:
    """Its pickle sets attributes of a class of its own."""

    def __init__(self) -> None:
        self.weight = 1


def hostile_files(folder: Path, marker: Path) -> dict[str, Path]:
    """Every hostile file by "kind: what it does"; all kinds but those that need h5py, see `hostile_hdf5`."""
    made = {}
    for kind, write in KINDS.items():
        for what, name, content in write(marker):
            place = folder / kind.replace(" ", "-") / what.replace(" ", "-").replace("/", "-")
            place.mkdir(parents=True)
            path = place / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content(path)
            made[f"{kind}: {what}"] = path
    return made


File = tuple[str, str, bytes | Callable[[Path], object]]
"""(what it does, its name, its bytes or what writes it)."""


def pickles(marker: Path) -> Iterator[File]:
    for protocol in range(6):
        yield f"protocol {protocol}", f"w{protocol}.pth", pickle.dumps({"w": Evil(marker)}, protocol)
    yield "eval", "w.pkl", pickle.dumps(Evil(marker, "eval"))
    yield "bare call", "w.bin", b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    yield "bare call of an instance", "w.ckpt", b"(S'touch " + str(marker).encode() + b"'\nios\nsystem\n."
    yield "after a number", "w.pt", pickle.dumps(3) + pickle.dumps(Evil(marker))
    yield "an object of numpy", "w.joblib", pickle.dumps(np.array([Evil(marker)], dtype=object))


def old_torch(marker: Path) -> Iterator[File]:
    for what, value in (
        ("code alone", Evil(marker)),
        ("code beside tensors", {"w": torch.zeros(3), "x": Evil(marker, "eval")}),
        ("tensors alone", {"w": torch.zeros(3)}),
        ("a whole network", nn.Linear(2, 2)),
    ):
        stream = io.BytesIO()
        torch.save(value, stream, _use_new_zipfile_serialization=False)
        yield what, "w.pth", stream.getvalue()
    legacy = stream.getvalue()
    yield "code in place of the protocol", "w.pth", legacy[:15] + pickle.dumps(Evil(marker), 2) + legacy[20:]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Evil(marker), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    yield "as a tar archive", "w.tar", stream.getvalue()


def torch_zip(main: bytes, records: dict[str, bytes] | None = None, folder: str = "archive") -> bytes:
    """A torch file with the pickle `main`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", main)
        archive.writestr(f"{folder}/byteorder", b"little")
        for name, data in (records or {"data/0": b"\0" * 16}).items():
            archive.writestr(f"{folder}/{name}", data)
        archive.writestr(f"{folder}/version", b"3\n")
    return stream.getvalue()


def text(value: str) -> bytes:
    """The instruction of a pickle for a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """The instruction of a pickle for a whole number."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, count: int = 4, key: str = "0") -> bytes:
    """The instructions of a pickle for a tensor."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + b"tQ"
    last = b"\x89ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(*shape) + numbers(*strides) + last + b"tR"
    )


def state(*values: bytes) -> bytes:
    """A pickle of a dictionary."""
    return b"\x80\x02}(" + b"".join(values) + b"u."


GOOD = text("w") + tensor((4,), (1,))


def code_in_torch_zip(marker: Path) -> Iterator[File]:
    for way in ("system", "eval", "open"):
        stream = io.BytesIO()
        torch.save({"w": torch.zeros(3), "x": Evil(marker, way)}, stream)
        yield way, "w.pth", stream.getvalue()
    for protocol in (0, 1, 3, 4, 5):
        yield f"protocol {protocol}", "w.pth", torch_zip(pickle.dumps({"w": Evil(marker)}, protocol))
    stream = io.BytesIO()
    torch.save(nn.Linear(2, 2), stream)
    yield "a whole network", "w.pth", stream.getvalue()
    touch = text(f"touch '{marker}'")
    call = {
        "an instance": b"(" + touch + b"ios\nsystem\n",
        "an object": b"(cos\nsystem\n" + touch + b"o",
        "a new object": b"cos\nsystem\n" + touch + b"\x85\x81",
        "a name from the stack": text("os") + text("system") + b"\x93" + touch + b"\x85R",
        "an extension": b"\x82\x01" + touch + b"\x85R",
        "a name with dots": b"ccollections\nOrderedDict.__class__\n)R",
        "a lookup": b"cbuiltins\ngetattr\nccollections\nOrderedDict\n" + text("__init__") + b"\x86R",
        "torch.load": b"ctorch\nload\n" + text("../other.pth") + b"\x85R",
        "torch.hub": b"ctorch.hub\nload\n" + text("a/b") + text("c") + b"\x86R",
        "numpy": b"cnumpy.core.multiarray\nscalar\n)R",
        "a partial function": b"cfunctools\npartial\ncos\nsystem\n\x85R",
        "a module": b"ctorch.storage\n_load_from_bytes\n" + text("x") + b"\x85R",
        "a tensor as a function": tensor((4,), (1,)) + b")R",
        "a class of its own": b"c__main__\nStateful\n)\x81}" + text("weight") + b"K\x01sb",
        "a hook": tensor((4,), (1,)) + b"}" + text("__setstate__") + b"cos\nsystem\nsb",
        "numbers elsewhere": b"(" + text("module") + b"cos\nsystem\n" + touch + b"tQ",
        "numbers by name": touch + b"Q",
    }
    for what, instructions in call.items():
        yield what, "w.pth", torch_zip(state(GOOD, text("x"), instructions))
    stream = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(2)}, "args": Evil(marker)}, stream)
    yield "beside a state", "w.ckpt", stream.getvalue()


def lies_in_torch_zip(marker: Path) -> Iterator[File]:
    lies = {
        "more numbers than there are": state(text("w"), tensor((1 << 40,), (1,), count=1 << 40)),
        "fewer numbers than there are": state(text("w"), tensor((2,), (1,), count=2)),
        "a view beyond its numbers": state(text("w"), tensor((4,), (1,), offset=2)),
        "a view before its numbers": state(text("w"), tensor((4,), (1,), offset=-2)),
        "numbers without end from one": state(text("w"), tensor((1 << 20, 1 << 20), (0, 0))),
        "steps back": state(text("w"), tensor((4,), (-1,), offset=3)),
        "steps too large": state(text("w"), tensor((2, 2), (1 << 62, 1))),
        "a shape below zero": state(text("w"), tensor((-4,), (1,))),
        "too many axes": state(text("w"), tensor((1,) * 64, (1,) * 64)),
        "strides of another length": state(text("w"), tensor((2, 2), (1,))),
        "numbers that are not there": state(text("w"), tensor((4,), (1,), key="../../0")),
        "a value without a name": b"\x80\x02}(" + GOOD + text("x") + b"u.",
        "a tensor as a dictionary": b"\x80\x02" + tensor((4,), (1,)) + text("x") + number(1) + b"s.",
        "a list as a dictionary": b"\x80\x02]" + number(0) + number(1) + b"s.",
        "a memory that was never set": b"\x80\x02h\x63.",
        "an empty stack": b"\x80\x02RRRR.",
        "marks only": b"\x80\x02" + b"(" * 100_000 + b".",
        "lists in lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a name of tuples of tuples": b"\x80\x02})q\x00" + b"h\x00h\x00\x86q\x00" * 60 + number(1) + b"s.",
        "values left over": b"\x80\x02}}.",
        "no end": b"\x80\x02}",
        "nothing": b"",
        "a text of four gigabytes": b"\x80\x02X\xff\xff\xff\xff.",
        "a name of no end": b"\x80\x02c" + b"a" * 100_000,
        "another thing than a dictionary": b"\x80\x02]" + tensor((4,), (1,)) + b"a.",
        "no tensors": state(text("epoch"), number(3)),
        "a name of control characters": state(text("\x1b[2J\x07w"), tensor((4,), (1,))),
    }
    for what, main in lies.items():
        yield what, "w.pth", torch_zip(main)
    sparse = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (1 << 40,), check_invariants=True)
    for what, value in (("a sparse tensor", sparse), ("complex numbers", torch.zeros(3, dtype=torch.complex64))):
        stream = io.BytesIO()
        torch.save({"w": value}, stream)
        yield what, "w.pth", stream.getvalue()
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, stream)
    whole = stream.getvalue()
    yield "cut off", "w.pth", whole[: len(whole) // 2]
    at = whole.index(b"little")
    yield "another byte order", "w.pth", torch_zip(state(GOOD), {"data/0": b"\0" * 16}).replace(b"little", b"biggie")
    assert at > 0


def zip_bombs(marker: Path) -> Iterator[File]:
    good = {"data/0": b"\0" * 16}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", state(GOOD))
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    yield "packed a thousandfold", "w.pth", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for one in range(60_000):
            archive.writestr(f"archive/data/{one}", b"")
    yield "records without end", "w.pth", stream.getvalue()
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", state(GOOD))
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(marker), 2))
        archive.writestr("archive/data/0", b"\0" * 16)
    yield "one name twice", "w.pth", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", state(GOOD))
        archive.writestr("b/data.pkl", pickle.dumps(Evil(marker), 2))
    yield "two folders", "w.pth", stream.getvalue()
    whole = torch_zip(state(GOOD), good)
    entry = whole.index(b"PK\x01\x02")
    record = whole.index(b"PK\x01\x02", entry + 1)

    def patched(place: int, data: bytes) -> bytes:
        return whole[:place] + data + whole[place + len(data) :]

    yield "a size that lies", "w.pth", patched(record + 20, struct.pack("<2L", 0x7FFFFFFF, 0x7FFFFFFF))
    yield "records that overlap", "w.pth", patched(record + 42, struct.pack("<L", 0))
    yield "encrypted", "w.pth", patched(entry + 8, b"\x01\x00")
    yield "a checksum that lies", "w.pth", patched(entry + 16, b"\0\0\0\0")
    yield "a size of 64 bits that lies", "w.pth", patched(record + 20, b"\xff" * 8)
    yield "another name in its place", "w.pth", patched(whole.index(b"archive/data.pkl"), b"archive/evil.pkl")
    yield "a list that lies", "w.pth", patched(len(whole) - 12, struct.pack("<L", 0x7FFFFFFF))
    yield "a comment", "w.pth", patched(len(whole) - 2, b"\x10\x00") + b"PK\x05\x06" + b"\0" * 12
    yield "something before it", "w.pth", b"PK\x03\x04" + b"\0" * 40 + whole
    yield "something behind it", "w.pth", whole + b"\0" * 40
    yield "a path that leads out", "w.pth", torch_zip(state(GOOD), {"../../../etc/passwd": b"x"}, folder="../x")


def programs(marker: Path) -> Iterator[File]:
    def scripted(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), str(path))

    yield "TorchScript", "w.pt", scripted
    code = {"code/__torch__.py": b"def forward(self): ...", "constants.pkl": pickle.dumps(Evil(marker), 2)}
    yield "TorchScript with code in its constants", "w.pt", torch_zip(state(GOOD), code)
    yield "a shell script", "w.pth", b"#!/bin/sh\ntouch '" + str(marker).encode() + b"'\n"
    yield "a program", "w.bin", b"\x7fELF" + b"\0" * 100
    yield "a program of Windows", "w.pth", b"MZ" + b"\0" * 100
    yield "Python", "w.pth", f"import os; os.system('touch {marker}')".encode()


def keras_archives(marker: Path) -> Iterator[File]:
    code = {"class_name": "Lambda", "config": {"function": ["4wEAAA==", None, None]}}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [code]}}))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    for name in ("w.keras", "w.zip", "w.h5", "w.pth"):
        yield f"a Lambda named {name}", name, stream.getvalue()


def safetensors_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def safetensors(marker: Path) -> Iterator[File]:
    def entry(shape: Any = (4,), offsets: Any = (0, 16), dtype: Any = "F32", **more: Any) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}

    headers: dict[str, Any] = {
        "more than is there": {"w": entry(offsets=(0, 1 << 40), shape=(1 << 38,))},
        "a shape that lies": {"w": entry(shape=(1 << 20, 1 << 20))},
        "a shape beyond all numbers": {"w": entry(shape=(1 << 62, 1 << 62))},
        "a shape below zero": {"w": entry(shape=(-4,))},
        "places below zero": {"w": entry(offsets=(-16, 0))},
        "places in the wrong order": {"w": entry(offsets=(16, 0))},
        "tensors that overlap": {"w": entry(), "x": entry()},
        "tensors with gaps": {"w": entry(shape=(2,), offsets=(0, 8)), "x": entry(shape=(1,), offsets=(12, 16))},
        "bytes that nothing declares": {"w": entry(shape=(2,), offsets=(0, 8))},
        "an unknown type": {"w": entry(dtype="F8_E4M3", offsets=(0, 4))},
        "a type that is no text": {"w": entry(dtype=["F32"])},
        "fractions of a length": {"w": entry(shape=(4.0,))},
        "truth for a length": {"w": entry(shape=(True,), offsets=(0, 4))},
        "more axes than any array": {"w": entry(shape=(1,) * 100, offsets=(0, 4))},
        "other fields": {"w": entry(run="os.system")},
        "no fields": {"w": {}},
        "a list": [1, 2],
        "no tensors": {},
        "a name of control characters": {"\x1b[2J\x07": entry()},
        "no name": {"": entry()},
        "a name of a megabyte": {"w" * 1_000_000: entry()},
    }
    for what, header in headers.items():
        yield what, "w.safetensors", safetensors_file(header, b"\0" * 16)
    one = b'{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    raw = {
        "a name twice": b'{"w":' + one + b',"w":' + one + b"}",
        "nested without end": b'{"w":' + b"[" * 1_000_000,
        "numbers without end": b'{"w":{"dtype":"F32","shape":[' + b"9" * 1_000_000 + b'],"data_offsets":[0,16]}}',
        "no text": b"{\xff\xfe}",
        "cut off": b'{"w":{"dtype":"F32",',
    }
    for what, header in raw.items():
        yield what, "w.safetensors", safetensors_file(header, b"\0" * 16)
    good = {"w": entry()}
    yield "a header of exabytes", "w.safetensors", safetensors_file(good, b"\0" * 16, length=1 << 62)
    yield "a header longer than the file", "w.safetensors", safetensors_file(good, b"\0" * 16, length=4096)
    yield "cut off in its numbers", "w.safetensors", safetensors_file(good, b"\0" * 15)
    yield "too many numbers", "w.safetensors", safetensors_file(good, b"\0" * 17)
    yield "code behind its numbers", "w.safetensors", safetensors_file(good, b"\0" * 16) + pickle.dumps(Evil(marker))

    def sparse(path: Path) -> None:
        header = safetensors_file({"w": entry(shape=(1 << 36,), offsets=(0, 1 << 38))})
        with path.open("wb") as handle:
            handle.write(header)
            handle.truncate(len(header) + (1 << 38))

    yield "a quarter terabyte of nothing", "w.safetensors", sparse


def numpy_files(marker: Path) -> Iterator[File]:
    stream = io.BytesIO()
    np.save(stream, np.array([Evil(marker)], dtype=object), allow_pickle=True)
    yield "objects", "w.npy", stream.getvalue()
    stream = io.BytesIO()
    np.savez(stream, w=np.array([Evil(marker)], dtype=object))
    yield "an archive of objects", "w.npz", stream.getvalue()


def other_networks(marker: Path) -> Iterator[File]:
    yield "ONNX with numbers elsewhere", "w.onnx", b"\x08\x08\x12\x07pytorch:+\n\x0eexternal_data\x12../../../etc/passwd"
    yield "TensorFlow", "saved_model.pb", b"\x08\x01\x12\xff\x02\n\x0bReadFile\x12/etc/passwd"
    yield "TensorFlow Lite", "w.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 40
    yield "OpenVINO", "w.xml", b"<?xml version='1.0'?><net><!ENTITY x SYSTEM 'file:///etc/passwd'></net>"
    yield "GGUF", "w.gguf", b"GGUF" + struct.pack("<I2Q", 3, 1 << 60, 1 << 60)

    def folder(path: Path) -> None:
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"\x08\x01")

    yield "a folder of TensorFlow", "saved_model", folder


def packed(marker: Path) -> Iterator[File]:
    evil = pickle.dumps(Evil(marker))
    yield "gzip", "w.pth.gz", gzip.compress(evil)
    yield "bzip2", "w.pth.bz2", bz2.compress(evil)
    yield "xz", "w.pth.xz", lzma.compress(evil)
    yield "gzip named torch", "w.pth", gzip.compress(b"\0" * 50_000_000)
    yield "zstd", "w.pth", b"\x28\xb5\x2f\xfd" + b"\0" * 20
    yield "7-Zip", "w.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 20


def no_weights(marker: Path) -> Iterator[File]:
    yield "a web page", "w.pth", b"\n<!DOCTYPE html><html><script>document.write(1)</script></html>"
    yield "a pointer of Git LFS", "w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    yield "an index of several files", "w.safetensors", b'{"weight_map": {"w": "../../../etc/passwd"}}'
    yield "JSON", "w.json", b'{"a": 1}'
    yield "a picture", "w.pth", b"\x89PNG\r\n\x1a\n" + b"\0" * 40
    yield "zeros", "w.pth", b"\0" * 4096
    yield "noise", "w.bin", np.random.default_rng(0).bytes(4096)
    yield "a megabyte of one letter", "w.pth", b"(" * 1_000_000


def special_files(marker: Path) -> Iterator[File]:
    yield "empty", "w.safetensors", b""
    yield "one byte", "w.safetensors", b"{"
    yield "eight bytes", "w.pth", b"PK\x03\x04\0\0\0\0"
    yield "a folder", "w.pth", Path.mkdir
    if hasattr(os, "mkfifo"):
        yield "a pipe", "w.pth", os.mkfifo
    yield "a link to a device without end", "w.pth", lambda path: path.symlink_to("/dev/zero")
    yield "a link to nothing", "w.pth", lambda path: path.symlink_to("nowhere")
    yield "a link in a circle", "w.pth", lambda path: path.symlink_to(path)
    yield "the memory of this process", "w.pth", lambda path: path.symlink_to("/proc/self/mem")


def names_that_lie(marker: Path) -> Iterator[File]:
    evil = pickle.dumps(Evil(marker), 2)
    yield "a pickle named safetensors", "w.safetensors", evil
    yield "a pickle named h5", "w.weights.h5", evil
    yield "a torch file named safetensors", "w.safetensors", torch_zip(state(GOOD))
    yield "a torch file named h5", "w.h5", torch_zip(state(GOOD))
    yield (
        "safetensors named h5",
        "w.h5",
        safetensors_file({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 16),
    )
    yield "HDF5 named safetensors", "w.safetensors", b"\x89HDF\r\n\x1a\n" + b"\0" * 100


KINDS: dict[str, Callable[[Path], Iterator[File]]] = {
    "pickle": pickles,
    "old torch": old_torch,
    "code in a torch zip": code_in_torch_zip,
    "lies in a torch zip": lies_in_torch_zip,
    "zip bomb": zip_bombs,
    "program": programs,
    "Keras archive": keras_archives,
    "safetensors": safetensors,
    "numpy": numpy_files,
    "other network": other_networks,
    "packed": packed,
    "no weights": no_weights,
    "special file": special_files,
    "name that lies": names_that_lie,
}
