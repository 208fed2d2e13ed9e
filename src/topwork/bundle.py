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
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError, InputError
from topwork.runtime import publish_folder, sha256_file, storage_error, write_file

FORMAT = 1
"""Raised when an older topwork could not read the bundle."""

CONFIG = "config.json"
_TOLD_ONLY = {"metrics.json", "report.html", "README.md"}
"""Files that tell about the classifier and do not decide its answers: times and dates are in them."""


@dataclass(frozen=True)
class Bundle:
    """What was read of a bundle."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    parts: dict[str, Path]
    """The engine's files and backbone.safetensors, as far as the bundle holds them; engine files are checked."""


def check_place(path: Path) -> None:
    """Raise InputError, before any work is done, unless a bundle may be written at `path`."""
    if path.exists() and not (path.is_dir() and (is_bundle(path) or not any(path.iterdir()))):
        raise InputError(f"{path}: exists and is no bundle; it is left as it is. Choose another name with -o.")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{path}: the folder {parent} does not exist. Make it first.")
    try:
        probe = parent / f".topwork-probe-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise storage_error(path, error) from error


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

    parts: files to copy under their names; texts: further files. Raises InputError or StorageError; then `path` is as it was.
    """
    from safetensors.numpy import save

    check_place(path)
    path = path.absolute()
    with publish_folder(path) as folder:
        hashes = {}
        contents: dict[str, bytes] = {name: text.encode() for name, text in texts.items()}
        contents["head.safetensors"] = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
        for name, data in sorted(contents.items()):
            write_file(folder / name, data)
            hashes[name] = hashlib.sha256(data).hexdigest()
        for name, source in sorted(parts.items()):
            try:
                shutil.copyfile(source, folder / name)
            except OSError as error:
                raise storage_error(path, error, source.stat().st_size if source.exists() else None) from error
            hashes[name] = sha256_file(folder / name)
        decides = {name: sha for name, sha in hashes.items() if name not in _TOLD_ONLY}
        body = {"kind": "topwork bundle", "format": FORMAT, **config, "decides": decides}
        identity = _checksum(body)
        whole = {**body, "sha256": identity, "tells": {name: sha for name, sha in hashes.items() if name in _TOLD_ONLY}}
        write_file(folder / CONFIG, json.dumps(whole, indent=1, ensure_ascii=False).encode())
    return identity


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`, every file that decides an answer checked against its hash.

    Raises BundleError: not a bundle, from a newer topwork, or damaged (the file is named).
    """
    try:
        return _read(path)
    except BundleError:
        # A writer may have replaced the bundle between two of our reads: look once more.
        return _read(path)


def _read(path: Path) -> Bundle:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not path.exists():
        raise BundleError(f"{path}: no such bundle. Make one: topwork fit photos/ -o {path}")
    try:
        whole = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(whole, dict) or whole.get("kind") != "topwork bundle":
            raise ValueError("it does not say that it is a bundle")
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: expected a bundle made by topwork fit; its {CONFIG} cannot be read: {error}.") from error
    if not isinstance(whole.get("format"), int) or whole["format"] > FORMAT:
        raise BundleError(
            f"{path}: made by topwork {whole.get('topwork', '?')} in format {whole.get('format')}; this version reads up to "
            f"format {FORMAT}. Update topwork: pip install --upgrade topwork"
        )
    body = {key: value for key, value in whole.items() if key not in ("sha256", "tells")}
    if _checksum(body) != whole.get("sha256"):
        raise BundleError(f"{path}: {CONFIG} was changed or damaged. Take a fresh copy, or fit again.")
    parts = {}
    data = b""
    for name, expected in body["decides"].items():
        file = path / name
        try:
            if name == "head.safetensors":
                data = file.read_bytes()
                found = hashlib.sha256(data).hexdigest()
            elif name in ("backbone.safetensors", "splits.json") and body["engine"]["name"] != "torch":
                # Not needed to answer, and large: that it is there is enough.
                found = expected if file.is_file() else "missing"
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
    return Bundle(path, body, tensors, parts)


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
