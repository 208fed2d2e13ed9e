"""Which kind of file a weight file is, by its bytes; and for the kinds that are not read, why, and what to do instead."""

from __future__ import annotations

import re
from pathlib import Path

from topwork.zoo.weights.from_torch import KERAS_ARCHIVE, LEGACY
from topwork.zoo.weights.hdf5 import SIGNATURE
from topwork.zoo.weights.stored import TENSORS_ALONE, Bytes, Refused

_AGAIN = "Where you trust it, write it anew: torch.save(torch.load(FILE, weights_only=True), NEW)"

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, LEGACY, f"it is in the layout of torch before 1.6, a row of pickles, which can run code. {_AGAIN}"),
    (
        257,
        b"ustar",
        "it is a tar archive; the first torch wrote those, with pickles inside, which can run code. " + TENSORS_ALONE,
    ),
    (0, b"\x1f\x8b", "it is packed with gzip. Unpack it first"),
    (0, b"BZh", "it is packed with bzip2. Unpack it first"),
    (0, b"\xfd7zXZ", "it is packed with xz. Unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "it is packed with zstd. Unpack it first"),
    (0, b"7z\xbc\xaf", "it is packed with 7-Zip. Unpack it first"),
    (0, b"Rar!", "it is packed with RAR. Unpack it first"),
    (0, b"GGUF", "it is a GGUF file, which is for language models"),
    (
        4,
        b"TFL3",
        "it is a TensorFlow Lite network, whose weights are changed for phones. Take the network's own",
    ),
    (0, b"\x93NUMPY", "it is one numpy array without names. Save all tensors with their names as safetensors"),
    (0, b"version https://git-lfs", "it is a pointer of Git LFS; the file itself was not fetched. Run: git lfs pull"),
    (0, b"\x7fELF", "it is a program"),
    (0, b"MZ", "it is a program"),
    (0, b"#!", "it is a program"),
    (0, b"%PDF", "it is a PDF document"),
    (0, b"\x89PNG", "it is a picture"),
    (0, b"\xff\xd8\xff", "it is a picture"),
    (0, b"{", "it is JSON, perhaps the index of weights that are in several files. Give the one file that holds them all"),
)
_ENDINGS = {
    ".onnx": "it is an ONNX network: architecture and weights in one. Give the weights alone, of a network of the zoo",
    ".pb": "it is a TensorFlow network with its architecture. Save its tensors alone: network.save_weights('NAME.weights.h5')",
    ".pkl": f"it is a pickle, which can run code. {TENSORS_ALONE}",
    ".pickle": f"it is a pickle, which can run code. {TENSORS_ALONE}",
    ".joblib": f"it is a pickle, which can run code. {TENSORS_ALONE}",
}
_PROMISES = {".safetensors": "safetensors", ".h5": "keras", ".hdf5": "keras"}
"""Endings that must be true: who checks a file by its name shall not be misled."""
_EXPECTED = "Expected safetensors, a torch state dict (.pth of torch 1.6 or newer), or Keras's .weights.h5 or .h5"


def kind_of(data: Bytes, path: Path) -> str:
    """safetensors, torch, torch legacy, or keras. Raises Refused for all other kinds."""
    if data.size == 0:
        raise Refused("it is empty")
    ending = path.suffix.lower()
    if ending == ".keras":
        raise Refused(KERAS_ARCHIVE)
    head = data.take(0, min(data.size, 300), "the file")
    kind = _recognised(head, data.size)
    if kind is None:
        why = _why_not(head, ending)
        if why is None and ending == ".safetensors":
            return "safetensors"  # it tells better what is wrong with its header
        raise Refused(why or f"it begins with {head[:8]!r}, which is no kind of weights that is read. {_EXPECTED}")
    if _PROMISES.get(ending, kind) != kind:
        raise Refused(f"its name ends in {ending} and its bytes are those of another kind ({kind}). Name it for what it is")
    return kind


def legacy_refused() -> Refused:
    """Why a file of torch before 1.6 is not read."""
    return Refused(_MAGIC[0][2])


def _recognised(head: bytes, size: int) -> str | None:
    if head.startswith(SIGNATURE):
        return "keras"
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if head.startswith(LEGACY):
        return "torch legacy"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    return None


def _why_not(head: bytes, ending: str) -> str | None:
    """What a file that is not read is, where that can be told."""
    for offset, magic, reason in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return reason
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page: a download went wrong. Fetch the file itself"
    if start.startswith(b"<?xml") or start.startswith(b"<net"):
        return "it is XML, perhaps a network of OpenVINO. Give the weights alone, of a network of the zoo"
    if _pickled(head):
        return f"it is a pickle, which can run code. {TENSORS_ALONE}"
    return None


def _pickled(head: bytes) -> bool:
    """Whether it begins as a pickle of any protocol does."""
    return re.match(rb"\x80[\x00-\x05]|\(?c[\w.]+\n[\w.]+\n|\([dli][\w\n.]|[]}]q|\(i\w", head) is not None
