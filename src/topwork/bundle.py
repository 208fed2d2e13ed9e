"""A classifier on disk: a folder of plain files, each with its SHA-256 in config.json, written and replaced in one step.

    config.json         all settings, labels, preprocessing, calibration, and the other files' hashes
    head.safetensors    the head and the references for "none of these"
    model.xml, .bin     the engine's file, so that predict needs no torch   (not with slim)
    backbone.safetensors                                                    (not with slim)
    metrics.json        everything measured; report.html and README.md tell it
    splits.json         content hashes of training and test pictures

No pickle anywhere: reading a bundle runs nothing that is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError, InputError
from topwork.runtime import bring_back, copy_file, publish_folder, sha256_file, storage_error, write_file

FORMAT = 1
"""Raised when an older topwork could not read the bundle."""

CONFIG = "config.json"
_TOLD_ONLY = {"metrics.json", "report.html", "README.md"}
"""Files that tell about the classifier and do not decide its answers: times and dates are in them."""
_READ = {"head.safetensors", "splits.json", "backbone.safetensors", "model.xml", "model.bin", "model.onnx"}
"""Files that a reader opens; a bundle that names others is not ours."""
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What file managers leave in folders."""


@dataclass(frozen=True)
class Bundle:
    """What was read of a bundle."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    parts: dict[str, Path]
    """The engine's files and backbone.safetensors, as far as the bundle holds them.

    All that decide an answer are checked. With another engine than torch backbone.safetensors does not: reading it would
    double the time that a load takes, so only its size is checked here, and all of it when `write_bundle` copies it.
    """
    written: bytes
    """config.json as it was read: it holds the hashes of all other files."""


def check_place(path: Path) -> None:
    """Raise InputError, before any work is done, unless a bundle may be written at `path`."""
    while True:
        before = _standing(path)
        told = None if before is None else _objection(path)
        if told is None:
            break
        if _standing(path) == before:  # else another writer was just replacing it: what was seen was between two bundles
            raise InputError(told)
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{path}: the folder {parent} does not exist. Make it first.")
    try:
        with tempfile.TemporaryFile(dir=parent):  # leaves nothing behind, even when killed
            pass
    except OSError as error:
        raise storage_error(path, error) from error


def _standing(path: Path) -> tuple[int, int, int] | None:
    """What tells one file or folder at `path` from another that takes its place; None where there is none."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(path, error) from error
    return state.st_dev, state.st_ino, state.st_ctime_ns


def _objection(path: Path) -> str | None:
    """Why what stands at `path` must not be replaced."""
    try:
        names = sorted(file.name for file in path.iterdir())
    except OSError:
        names = None
    if names is None or (names and not is_bundle(path)):
        return f"{path}: exists and is no bundle; it is left as it is. Choose another name with -o."
    foreign = [name for name in names if name not in {CONFIG, *_TOLD_ONLY, *_READ, *_LITTER}]
    if not foreign:
        return None
    return (
        f"{path}: replacing this bundle would remove files that are not part of it: {', '.join(foreign[:5])}. "
        "Move them elsewhere, or choose another name with -o."
    )


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder that says it is a bundle."""
    try:
        return bool(json.loads((path / CONFIG).read_text(encoding="utf-8")).get("kind") == "topwork bundle")
    except (OSError, ValueError, AttributeError):
        return False


def write_bundle(
    path: Path,
    config: dict[str, Any],
    tensors: dict[str, NDArray[Any]],
    parts: dict[str, Path],
    texts: dict[str, str],
) -> str:
    """Write a bundle in one step; an older bundle at `path` is replaced. Returns the hash of all that decides its answers.

    parts: files to copy under their names; texts: further files. Raises InputError, BundleError (a part of another bundle is
    damaged) or StorageError; then `path` is as it was.
    """
    from safetensors.numpy import save

    check_place(path)
    contents: dict[str, bytes] = {name: text.encode() for name, text in texts.items()}
    contents["head.safetensors"] = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    needed = sum(map(len, contents.values())) + sum(source.stat().st_size for source in parts.values() if source.exists())
    with publish_folder(path, needed) as folder:
        hashes, sizes = {}, {}
        for name, data in sorted(contents.items()):
            write_file(folder / name, data)
            hashes[name], sizes[name] = hashlib.sha256(data).hexdigest(), len(data)
        for name, source in sorted(parts.items()):
            hashes[name] = copy_file(source, folder / name)
            sizes[name] = (folder / name).stat().st_size
            if _promised(source) not in (None, hashes[name]):
                raise BundleError(f"{source.parent}: {name} was changed or damaged. Take a fresh copy, or fit again.")
        decides = {name: sha for name, sha in hashes.items() if name not in _TOLD_ONLY}
        body = {
            "kind": "topwork bundle",
            "format": FORMAT,
            **config,
            "decides": decides,
            "sizes": {name: sizes[name] for name in decides},
        }
        identity = _checksum(body)
        whole = {**body, "sha256": identity, "tells": {name: sha for name, sha in hashes.items() if name in _TOLD_ONLY}}
        write_file(folder / CONFIG, json.dumps(whole, indent=1, ensure_ascii=False).encode())
    return identity


def _promised(source: Path) -> str | None:
    """The hash of a file as the bundle that it lies in states it; None for a file of no bundle."""
    if not is_bundle(source.parent):
        return None
    try:
        return str(json.loads((source.parent / CONFIG).read_text(encoding="utf-8"))["decides"][source.name])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`, every file that decides an answer checked against its hash.

    While a writer replaces the bundle, what comes back is wholly the old or wholly the new one. Raises BundleError: not a
    bundle, from a newer topwork, or damaged (the file is named).
    """
    for tries in range(1000):
        before = _state(path)
        try:
            found = _read(path)
            if _state(path) == before:
                return found
        except BundleError:
            if before is not None and _state(path) == before:
                raise
            # A writer without the system call leaves nothing there for a moment; a killed one leaves it so.
            if before is None and tries >= 20 and not bring_back(path):
                raise
        time.sleep(0.002)
    raise BundleError(f"{path}: is being replaced again and again. Wait until its writer is done.")


def unchanged(bundle: Bundle) -> bool:
    """Whether nobody has replaced the bundle since it was read: what was opened after that is what was checked."""
    try:
        return (bundle.folder / CONFIG).read_bytes() == bundle.written
    except OSError:
        return False


def _state(path: Path) -> tuple[int, ...] | None:
    """Changes whenever the bundle is replaced; None where nothing is."""
    try:
        folder, config = path.stat(), (path / CONFIG).stat()
    except OSError:
        return None
    return folder.st_dev, folder.st_ino, folder.st_mtime_ns, config.st_ino, config.st_mtime_ns, config.st_size


def _read(path: Path) -> Bundle:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not os.path.lexists(path):
        near = path.with_name(f"{path.name}.topwork")
        then = f"Did you mean {near}?" if near.exists() else f"Make one: topwork fit photos/ -o {path}"
        raise BundleError(f"{path}: no such bundle. {then}")
    if not path.is_dir():
        raise BundleError(f"{path}: expected a bundle made by topwork fit, which is a folder; found a file. Give the folder.")
    try:
        config = (path / CONFIG).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{path}: expected a bundle made by topwork fit, found a folder without {CONFIG}. "
            "Give the folder that fit wrote, or make one: topwork fit photos/ -o mine.topwork"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{path}: expected a bundle made by topwork fit; its {CONFIG} cannot be read: {error.strerror or error}. "
            "Give yourself the right to read it, or take a fresh copy."
        ) from error
    try:
        whole = json.loads(config.decode("utf-8"))
        if not isinstance(whole, dict) or whole.get("kind") != "topwork bundle":
            raise ValueError("it does not say that it is a bundle")
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path}: expected a bundle made by topwork fit; its {CONFIG} is none of a bundle: {error}. "
            "Take a fresh copy, or fit again."
        ) from error
    written = whole.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise BundleError(
            f"{path}: made by topwork {whole.get('topwork', '?')}; its {CONFIG} is of format {written}, and this version reads "
            f"up to format {FORMAT}. Update topwork: pip install --upgrade topwork"
        )
    body = {key: value for key, value in whole.items() if key not in ("sha256", "tells")}
    if not isinstance(written, int) or _checksum(body) != whole.get("sha256"):
        raise BundleError(f"{path}: {CONFIG} was changed or damaged. Take a fresh copy, or fit again.")
    try:
        decides, sizes, engine = dict(body["decides"]), dict(body.get("sizes", {})), body["engine"]["name"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: {CONFIG} has no {error}. It was not made by topwork fit.") from error
    if not decides.keys() <= _READ or "head.safetensors" not in decides:
        raise BundleError(f"{path}: {CONFIG} names other files than a bundle holds: {', '.join(sorted(decides))[:200]}.")
    parts = {}
    data = b""
    for name, expected in decides.items():
        file = path / name
        try:
            state = file.lstat()
            if not stat.S_ISREG(state.st_mode) or state.st_size != sizes.get(name, state.st_size):
                found = None
            elif name == "head.safetensors":
                data = file.read_bytes()
                found = hashlib.sha256(data).hexdigest()
            elif name == "backbone.safetensors" and engine != "torch":
                found = expected
            else:
                found = sha256_file(file)
        except OSError as error:
            raise BundleError(f"{path}: {name} cannot be read: {error.strerror}. Take a fresh copy, or fit again.") from error
        if found != expected:
            raise BundleError(f"{path}: {name} was changed or damaged. Take a fresh copy, or fit again.")
        if name not in ("head.safetensors", "splits.json"):
            parts[name] = file
    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"{path}: head.safetensors cannot be read: {error}.") from error
    return Bundle(path, body, tensors, parts, config)


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
