"""Files from the network: fetched as bytes, resumed where they were cut, checked, then published by rename.

While a download runs its bytes lie beside the file, see `topwork.partial`: a later call goes on where an earlier one ended, be
it by kill -9. No byte of a file that is not whole and right is ever seen under its name.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from topwork import __version__
from topwork.errors import DownloadError, StorageError
from topwork.partial import Part, Version, beside, opened_part
from topwork.runtime import exclusive, free_bytes, in_words, make_folder, sha256_file

TIMEOUT = 30.0
"""Seconds without an answer, or with fewer than LEAST bytes, after which a connection counts as cut."""

LEAST = 1024

TRIES = 4
"""Tries in a row that bring fewer than LEAST bytes more, after which an address is given up."""

PAUSE = 0.5
"""Seconds before the second try; doubled for each further one."""

REDIRECTS = 10
CHUNK = 1 << 18

Told = Callable[[int, int], None]
"""Called with the bytes that have come and those that will come."""


@dataclass(frozen=True)
class Downloaded:
    """What a download brought."""

    file: Path
    sha256: str
    """Of the file's bytes."""
    size: int
    """In bytes."""
    address: str | None
    """Where it came from; None where the file was already there."""
    resumed: int = 0
    """Bytes that an earlier call had brought."""


@dataclass(frozen=True)
class _Wanted:
    """What was asked for."""

    file: Path
    addresses: tuple[str, ...]
    sha256: str | None
    size: int | None
    remedy: str | None

    def instead(self) -> str:
        """What a person can do where the network does not help."""
        if self.remedy is not None:
            return self.remedy
        facts = [in_words(self.size)] if self.size else []
        facts += [f"SHA-256 {self.sha256}"] if self.sha256 else []
        told = f" ({', '.join(facts)})" if facts else ""
        return f"Bring the file{told} from {' or '.join(self.addresses)} and put it at {self.file}."


class _Cut(Exception):
    """This try failed; the next one may bring more. `wait`: seconds that the server asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Refused(Exception):
    """This address will not give the file."""


def download(
    addresses: str | Sequence[str],
    file: Path,
    sha256: str | None = None,
    size: int | None = None,
    told: Told | None = None,
    offline: bool = False,
    *,
    remedy: str | None = None,
) -> Downloaded:
    """Fetch `file` from the first of `addresses` that gives it. A file that is there already is checked and kept.

    sha256, size: what its bytes must be; nothing else is ever published. remedy: what the message says to do where the network
    does not help. Several processes may ask for one file: one fetches, the others wait. Raises DownloadError (from where each
    address failed, what to bring, where to put it) and StorageError; what has come is kept for the next call.
    """
    wanted = _Wanted(file, (addresses,) if isinstance(addresses, str) else tuple(addresses), sha256, size, remedy)
    memory, lock = beside(file, ".part.json"), beside(file, ".part.lock")
    if there := _already(wanted):
        if os.path.lexists(memory) or os.path.lexists(lock):  # its writer was killed at the last step
            with contextlib.suppress(OSError, StorageError), exclusive(lock):
                memory.unlink(missing_ok=True)
        return there
    if offline:
        raise DownloadError(f"{file}: is not there, and nothing may be fetched (offline). {wanted.instead()}")
    make_folder(file.parent)
    with exclusive(lock):
        if there := _already(wanted):  # another process was faster
            return there
        with opened_part(file) as part:
            return _fetch(wanted, part, told)


def _already(wanted: _Wanted) -> Downloaded | None:
    """The file, where it is there and right. Raises DownloadError where something else is there."""
    file = wanted.file
    if not os.path.lexists(file):
        return None
    try:
        found, size = sha256_file(file), file.stat().st_size
    except OSError as error:
        raise DownloadError(f"{file}: expected a file, cannot read it: {error.strerror}. Remove it and run again.") from error
    if wanted.sha256 not in (None, found) or wanted.size not in (None, size):
        expected = ", ".join(str(one) for one in (wanted.sha256, wanted.size and in_words(wanted.size)) if one)
        raise DownloadError(
            f"{file}: is damaged or another file: expected SHA-256 {expected}, found {found}, {in_words(size)}. "
            "Remove it and run again."
        )
    return Downloaded(file, found, size, None)


def _fetch(wanted: _Wanted, part: Part, told: Told | None) -> Downloaded:
    """Try the addresses in turn. Raises DownloadError with the reason of each."""
    reasons = []
    if part.size and _complete(wanted, part):  # killed between the last byte and the name
        with contextlib.suppress(_Cut, _Refused):
            return _publish(wanted, part, part.version.address or None)
    for address in wanted.addresses:
        best, idle = part.size, 0
        while True:
            try:
                _bring(address, wanted, part, told)
                return _publish(wanted, part, address)
            except _Refused as fault:
                reasons.append(f"{address}: {fault}")
                break
            except _Cut as fault:
                best, idle = (part.size, 0) if part.size >= best + LEAST else (best, idle + 1)
                if idle == TRIES:
                    reasons.append(f"{address}: {fault}")
                    break
                time.sleep(max(fault.wait, PAUSE * 2.0 ** (idle - 1) if idle else 0.0))
    kept = f" {in_words(part.size)} are kept: a next run goes on from there." if part.size else ""
    raise DownloadError(f"{wanted.file.name} could not be fetched. {'; '.join(reasons)}.{kept} {wanted.instead()}")


def _complete(wanted: _Wanted, part: Part) -> bool:
    known = wanted.sha256 is not None or part.version.address in wanted.addresses
    return known and part.size == (wanted.size or part.version.size)


def _publish(wanted: _Wanted, part: Part, address: str | None) -> Downloaded:
    """Give the checked bytes their name. Raises _Cut where they are wrong and fresh ones may be right, else _Refused."""
    found = part.digest.hexdigest()
    if wanted.sha256 in (None, found) and wanted.size in (None, part.size):
        done = Downloaded(wanted.file, found, part.size, address, part.resumed)
        part.publish(wanted.file)
        return done
    joined, size = part.joined, part.size
    part.restart()
    fault = f"sends other bytes than expected: SHA-256 {wanted.sha256}, found {found} ({in_words(size)})"
    raise _Cut(fault) if joined else _Refused(fault)


def _bring(address: str, wanted: _Wanted, part: Part, told: Told | None) -> None:
    """Append to the part what is missing. Raises _Cut and _Refused."""
    headers = {"User-Agent": f"topwork/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}
    known = part.version
    same = known.address == address
    if part.size and (wanted.sha256 or (same and known.validator)):  # else nothing says that the rest would belong to it
        headers["Range"] = f"bytes={part.size}-"
        if same and known.validator:
            headers["If-Range"] = known.validator
    try:
        with _open(address, headers) as response:
            total = _begin(response, address, wanted, part, "Range" in headers)
            if total is None or part.size < total:
                _receive(response, total, part, told)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise _as_fault(error) from error


def _open(address: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The response to a request, redirects followed; proxies as the environment names them. No response is an error here."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()):
        opener.add_handler(handler)
    here, target = address, ""
    for _ in range(REDIRECTS + 1):
        try:
            here = urljoin(here, quote(target, safe=string.punctuation, encoding="iso-8859-1"))
            parts = urlsplit(here)
            fetched = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fetched = False
        if not fetched:
            raise _Refused(f"leads to {target!r}, which is no web address" if target else "is no web address")
        if address.startswith("https:") and not here.startswith("https:"):
            raise _Refused(f"leads away from https to {here!r}")
        request = urllib.request.Request(here, headers=headers)  # noqa: S310 - the scheme is checked above
        response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
        target = response.headers.get("Location", "")
        if response.status not in (301, 302, 303, 307, 308) or not target:
            return response
        response.close()
    raise _Refused(f"redirects more than {REDIRECTS} times")


def _begin(response: http.client.HTTPResponse, address: str, wanted: _Wanted, part: Part, ranged: bool) -> int | None:
    """Make the part ready for the body that follows; returns the whole file's size, None where the server does not tell."""
    status, headers = response.status, response.headers
    if status == 416:
        match = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
        if match and int(match[1]) == part.size:
            return part.size
        part.restart()
        raise _Cut("the server has no bytes after those that are here")
    if status in (408, 425, 429) or status >= 500:
        wait = headers.get("Retry-After", "")
        raise _Cut(f"answers {status} {response.reason}", min(float(wait), TIMEOUT) if wait.isdecimal() else 0.0)
    if status not in (200, 206) or (status == 206 and not ranged):
        raise _Refused(f"answers {status} {response.reason}")
    if "text/html" in headers.get("Content-Type", "") and not wanted.file.suffix.startswith(".htm"):
        raise _Refused("answers with a web page instead of the file (a network that wants a login does that)")
    length = headers.get("Content-Length", "")
    rest = int(length) if length.isdecimal() else None
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
        changed = part.version.address == address and part.version.etag not in ("", etag) and etag
        if not match or int(match[1]) != part.size or changed:
            part.restart()
            raise _Cut("the file changed while it was fetched" if changed else "the server sends another part than asked for")
        total: int | None = int(match[2]) + 1 if match[3] == "*" else int(match[3])
    else:
        total = rest
    if wanted.size is not None and total not in (None, wanted.size):
        raise _Refused(f"has a file of {total} bytes, expected {wanted.size}")
    if total == 0 and wanted.size != 0:
        raise _Refused("has an empty file")
    if total is None and wanted.size is None and wanted.sha256 is None and not response.chunked:
        raise _Refused("does not say how long the file is, so that a cut could not be noticed")
    room = free_bytes(part.path)
    if total is not None and room is not None and room < total - (part.size if status == 206 else 0):
        raise StorageError(
            f"{part.path}: the disk has {in_words(room)} free, and {in_words(total)} are to come. Make room and run again."
        )
    if status == 200:
        part.begin(Version(address, etag, modified, total))
    else:
        part.joined = True
    return total if total is not None else wanted.size


def _receive(response: http.client.HTTPResponse, total: int | None, part: Part, told: Told | None) -> None:
    """Append the body. Raises _Cut where it ends early or hardly comes, _Refused where it is longer than it may be."""
    since, size_then = time.monotonic(), part.size
    while data := response.read1(CHUNK):
        if total is not None and part.size + len(data) > total:
            part.restart()
            raise _Refused(f"sends more than the {total} bytes of the file")
        part.append(data)
        if told is not None:
            told(part.size, total or part.size)
        if part.size - size_then >= LEAST:
            since, size_then = time.monotonic(), part.size
        elif time.monotonic() - since > TIMEOUT:
            raise _Cut(f"sent fewer than {LEAST} bytes in {TIMEOUT:.0f} seconds")
    if total is not None and part.size < total:
        raise _Cut(f"the connection was closed after {part.size} of {total} bytes")


def _as_fault(error: Exception) -> _Cut | _Refused:
    """What went wrong on the way, in words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _Refused(f"its certificate cannot be trusted ({cause.verify_message})")
    if isinstance(cause, TimeoutError):
        return _Cut(f"no answer for {TIMEOUT:.0f} seconds")
    if isinstance(cause, socket.gaierror):
        return _Cut("its name cannot be found (no network?)")
    if isinstance(cause, http.client.InvalidURL | UnicodeError):
        return _Refused(f"is no address that can be read ({cause})")
    return _Cut(f"the connection failed ({getattr(cause, 'strerror', None) or cause or type(cause).__name__})")
