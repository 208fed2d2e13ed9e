"""Weight files of timm's hub, through the hub's own library and in its own cache: its HF_HOME and HF_HUB_OFFLINE count."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from topwork.errors import WeightsError
from topwork.runtime import sha256_file, storage_error
from topwork.zoo.names import offline, unreachable

FILE = "model.safetensors"
"""The only file that is fetched of a repository: the other one is a pickle."""

PATIENCE = 10.0
"""Seconds in which the hub's machine must answer."""


def cached_file(repository: str) -> Path | None:
    """The weights of a repository in the hub's cache; None where they are not there. Raises WeightsError."""
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(repository, FILE)
    if not isinstance(kept, str):
        return None
    blob = Path(kept).resolve()  # the cache keeps a file under the SHA-256 of its bytes
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256_file(blob) != blob.name:
        raise WeightsError(f"{blob}: the weights were changed or damaged: expected SHA-256 {blob.name}. Remove the file.")
    return Path(kept)


def fetched_file(repository: str, shown: str, place: Path) -> Path:
    """The weights of a repository, fetched into the hub's cache.

    Raises WeightsError that says what to bring and where to put it (`place`), and StorageError.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    address = f"{endpoint}/{repository}/resolve/main/{FILE}"
    if offline():
        raise unreachable(shown, address, place, "nothing may be fetched (offline)")
    if not _reachable(endpoint):
        raise unreachable(shown, address, place, "there is no connection to fetch them")
    try:
        with _quiet():
            hf_hub_download(repository, FILE, endpoint=endpoint)
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            text = f"{shown}: {repository} has no {FILE}, and pickles are not fetched. Use --weights FILE."
            raise WeightsError(text) from error
        raise unreachable(shown, address, place, "there is no connection to fetch them") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise storage_error(Path(constants.HF_HUB_CACHE), error) from error
        raise unreachable(shown, address, place, f"they could not be fetched ({type(error).__name__})") from error
    found = cached_file(repository)
    if found is None:
        raise WeightsError(f"{shown}: the weights were fetched, but are not in {constants.HF_HUB_CACHE}. Run again.")
    return found


def _reachable(endpoint: str) -> bool:
    """Whether the hub's machine answers: the hub's library itself would try for half a minute, and say so each time."""
    if urllib.request.getproxies():  # then another machine asks for us
        return True
    parts = urlsplit(endpoint)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The hub's library says nothing inside: what fails is told once, in our own words. Its progress bar is for terminals."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    level, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(40)  # of errors
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            enable_progress_bars()
