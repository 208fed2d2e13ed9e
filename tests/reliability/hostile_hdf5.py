"""HDF5 files that mean harm, or are broken: links, numbers elsewhere, filters, lies about sizes, circles. h5py writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Writer = Callable[[Any, Path], object]


def hostile_hdf5(folder: Path) -> dict[str, Path]:
    """Every hostile HDF5 file by "HDF5: what it does"."""
    made = {}
    secret = folder / "secret.bin"
    folder.mkdir(parents=True, exist_ok=True)
    secret.write_bytes(b"secret" * 100)
    with h5py.File(folder / "other.weights.h5", "w") as other:
        good(other)
    for what, write in WRITTEN.items():
        path = place(folder, what)
        with h5py.File(path, "w") as file:
            good(file)
            write(file, secret)
        made[f"HDF5: {what}"] = path
    for what, write in LISTED.items():
        path = place(folder, what).with_name("w.h5")
        with h5py.File(path, "w") as file:
            listed(file)
            write(file, secret)
        made[f"HDF5: {what}"] = path
    with h5py.File(folder / "plain.weights.h5", "w") as file:
        good(file)
    whole = (folder / "plain.weights.h5").read_bytes()
    for what, data in patched(whole):
        path = place(folder, what)
        path.write_bytes(data)
        made[f"HDF5: {what}"] = path
    for what, settings in {"a newer layout": {"libver": "latest"}, "something before it": {"userblock_size": 512}}.items():
        path = place(folder, what)
        with h5py.File(path, "w", **settings) as file:
            good(file)
        made[f"HDF5: {what}"] = path
    return made


def place(folder: Path, what: str) -> Path:
    path = folder / "hdf5" / what.replace(" ", "-") / "w.weights.h5"
    path.parent.mkdir(parents=True)
    return path


def good(file: Any) -> None:
    """What Keras would write for one layer."""
    group = file.create_group("layers/dense/vars")
    group.attrs["name"] = "dense"
    group["0"] = np.zeros((3, 4), np.float32)
    group["1"] = np.zeros(4, np.float32)


def listed(file: Any) -> None:
    """What older Keras would write for one layer."""
    file.attrs["layer_names"] = [b"dense"]
    group = file.create_group("dense")
    group.attrs["weight_names"] = [b"dense/kernel:0"]
    group["dense/kernel:0"] = np.zeros((3, 4), np.float32)


def replaced(file: Any, **settings: Any) -> None:
    """The first tensor anew, made otherwise."""
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", **settings)


def virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=(3, 4), dtype="f4")
    layout[:] = h5py.VirtualSource(str(secret.parent / "other.weights.h5"), "layers/dense/vars/0", shape=(3, 4))
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_virtual_dataset("0", layout)


def plugin(file: Any, secret: Path) -> None:
    """A filter that the library would look for among its plug-ins: code."""
    del file["layers/dense/vars/0"]
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((3, 4))
    settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((3, 4))
    h5py.h5d.create(file["layers/dense/vars"].id, b"0", h5py.h5t.IEEE_F32LE, space, dcpl=settings)


def shared_type(file: Any, secret: Path) -> None:
    file["kind"] = np.dtype("f4")
    replaced(file, shape=(3, 4), dtype=file["kind"])


def many(file: Any, secret: Path) -> None:
    for number in range(31_000):
        file.create_group(f"layers/g{number}")


def deep(file: Any, secret: Path) -> None:
    file.create_group("layers/" + "/".join("d" * 60))


WRITTEN: dict[str, Writer] = {
    "a link into another file": lambda f, s: f.__setitem__(
        "layers/x", h5py.ExternalLink(str(s.parent / "other.weights.h5"), "/")
    ),
    "a link into the system": lambda f, s: f.__setitem__("layers/x", h5py.ExternalLink("/etc/passwd", "/")),
    "a symbolic link": lambda f, s: f.__setitem__("layers/x", h5py.SoftLink("/layers/dense")),
    "a symbolic link to nowhere": lambda f, s: f.__setitem__("layers/x", h5py.SoftLink("/../../etc")),
    "a group in itself": lambda f, s: f.__setitem__("layers/dense/again", f["layers"]),
    "a tensor linked twice": lambda f, s: f.__setitem__("layers/dense/vars/2", f["layers/dense/vars/1"]),
    "numbers in another file": lambda f, s: replaced(f, shape=(3, 4), dtype="f4", external=[(str(s), 0, 48)]),
    "numbers in the system": lambda f, s: replaced(f, shape=(3, 4), dtype="f4", external=[("/etc/passwd", 0, 48)]),
    "a virtual dataset": virtual,
    "a filter from a plug-in": plugin,
    "packed a thousandfold": lambda f, s: replaced(f, shape=(30_000_000,), dtype="f4", compression="gzip", chunks=(1_000_000,)),
    "chunks": lambda f, s: replaced(f, data=np.zeros((3, 4), "f4"), chunks=(1, 4)),
    "shuffled": lambda f, s: replaced(f, data=np.zeros((3, 4), "f4"), shuffle=True),
    "resizable without end": lambda f, s: replaced(f, shape=(3, 4), dtype="f4", maxshape=(None, None)),
    "a terabyte that was never written": lambda f, s: replaced(f, shape=(1 << 38,), dtype="f4"),
    "references": lambda f, s: replaced(f, data=[f["layers"].ref], dtype=h5py.ref_dtype),
    "references to regions": lambda f, s: replaced(f, shape=(2,), dtype=h5py.regionref_dtype),
    "arrays of varying length": lambda f, s: replaced(f, shape=(2,), dtype=h5py.vlen_dtype(np.float32)),
    "texts": lambda f, s: replaced(f, data=["a", "b"]),
    "compounds": lambda f, s: replaced(f, shape=(2,), dtype=np.dtype([("a", "f4"), ("b", "f4")])),
    "enumerations": lambda f, s: replaced(f, data=np.array([True, False])),
    "opaque bytes": lambda f, s: replaced(f, shape=(2,), dtype=np.dtype("V8")),
    "complex numbers": lambda f, s: replaced(f, data=np.zeros(2, np.complex64)),
    "big-endian floats": lambda f, s: replaced(f, data=np.zeros(2, ">f4")),
    "long doubles": lambda f, s: replaced(f, data=np.zeros(2, np.longdouble)),
    "no values": lambda f, s: replaced(f, data=h5py.Empty("f4")),
    "a type shared with others": shared_type,
    "a type alone": lambda f, s: f.__setitem__("layers/kind", np.dtype("f4")),
    "groups without end": many,
    "groups in groups": deep,
    "nothing of Keras": lambda f, s: (f.pop("layers"), f.__setitem__("other", np.zeros(3, np.float32))),
    "groups alone": lambda f, s: f.pop("layers/dense"),
}

LISTED: dict[str, Writer] = {
    "a list of numbers": lambda f, s: f.attrs.__setitem__("layer_names", [1.0, 2.0]),
    "a list of references": lambda f, s: f.attrs.__setitem__("layer_names", f["dense"].ref),
    "a layer that is not there": lambda f, s: f.attrs.__setitem__("layer_names", [b"dense", b"other"]),
    "a layer outside": lambda f, s: f.attrs.__setitem__("layer_names", [b"../../etc/passwd"]),
    "a layer twice": lambda f, s: f.attrs.__setitem__("layer_names", [b"dense"] * 2),
    "layers without end": lambda f, s: f.attrs.__setitem__("layer_names", np.zeros(60_000, "S1")),
    "a tensor that is not there": lambda f, s: f["dense"].attrs.__setitem__("weight_names", [b"other:0"]),
    "a tensor twice": lambda f, s: f["dense"].attrs.__setitem__("weight_names", [b"dense/kernel:0"] * 2),
    "a group as a tensor": lambda f, s: f["dense"].attrs.__setitem__("weight_names", [b"dense"]),
    "a layer that is a tensor": lambda f, s: (f.pop("dense"), f.__setitem__("dense", np.zeros(3, np.float32))),
    "a list without names": lambda f, s: f["dense"].attrs.pop("weight_names"),
    "a link as a layer": lambda f, s: (f.pop("dense"), f.__setitem__("dense", h5py.ExternalLink(str(s), "/"))),
}


def patched(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A good file with its inner places, sizes and counts made to lie."""

    def put(at: int, data: bytes) -> bytes:
        return whole[:at] + data + whole[at + len(data) :]

    def word(value: int) -> bytes:
        return struct.pack("<Q", value)

    tree, heap, members = whole.index(b"TREE"), whole.index(b"HEAP"), whole.index(b"SNOD")
    root = struct.unpack_from("<Q", whole, 64)[0]
    yield "cut off", whole[: len(whole) // 2]
    yield "cut off in its superblock", whole[:60]
    yield "a size that lies", put(40, word(1 << 40))
    yield "a base elsewhere", put(24, word(512))
    yield "a root elsewhere", put(64, word(1 << 40))
    yield "a root that is no object", put(64, word(0))
    yield "addresses of another size", put(13, b"\x04\x04")
    yield "an unknown version", put(8, b"\x09")
    yield "a tree in a circle", put(tree + 5, b"\x01")[: tree + 32] + word(tree) + put(tree + 5, b"\x01")[tree + 40 :]
    yield "a tree of too many", put(tree + 6, b"\xff\xff")
    yield "a tree of another kind", put(tree + 4, b"\x01")
    yield "a tree elsewhere", put(tree + 32, word(1 << 60))
    yield "members of too many", put(members + 6, b"\xff\xff")
    yield "members in a circle", put(members + 16, word(root))
    yield "a member without a name", put(members + 8, word(1 << 50))
    yield "names of terabytes", put(heap + 8, word(1 << 40))
    yield "names of megabytes", put(heap + 8, word(20 << 20)) + b"x" * (24 << 20)
    yield "names elsewhere", put(heap + 24, word((1 << 64) - 1))
    yield "a header of too many", put(root + 8, b"\xff\xff\xff\xff")
    yield "a header of another version", put(root, b"\x02")
    yield "a header that continues in itself", put(root + 16, struct.pack("<HHB3x2Q", 0x10, 16, 0, root + 16, 24))
    data = whole.index(struct.pack("<HHB", 8, 24, 1)[:4])
    yield "numbers of terabytes", put(data + 8 + 10, word(1 << 40))
    yield "numbers elsewhere", put(data + 8 + 2, word(len(whole) - 4))
    yield "numbers nowhere", put(data + 8 + 2, word((1 << 64) - 1))
    yield "zeros", whole[:96] + b"\0" * (len(whole) - 96)
    yield "ones", whole[:96] + b"\xff" * (len(whole) - 96)
