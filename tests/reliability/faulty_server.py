"""A real HTTP server that goes wrong in a stated way at each request, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from topwork.download import Downloaded

CONTENT = random.Random(0).randbytes(150_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def whole(file: Path, done: Downloaded, content: bytes = CONTENT) -> None:
    """Fails unless the file is right and nothing else is left beside it."""
    assert file.read_bytes() == content
    assert (done.file, done.sha256, done.size) == (file, hashlib.sha256(content).hexdigest(), len(content))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@dataclass(frozen=True)
class Reply:
    """How one request is answered; as a good server would, but for what is named."""

    status: int | None = None
    """This status and no body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to, or put in the place of, the headers that a good server would send."""
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    reset: bool = False
    """Close it the hard way."""
    ranges: bool = True
    """Whether a Range is understood."""
    if_range: bool = True
    """Whether If-Range is understood."""
    etag: str | None = '"1"'
    modified: str | None = None
    body: bytes | None = None
    """Other bytes than those that are published."""
    chunked: bool = False
    silent: bool = False
    """No Content-Length: the end of the connection is the end of the file."""
    stall: int | None = None
    """Send so many bytes of the body, then nothing until the server is closed."""
    drip: float | None = None
    """Send one byte at a time, with so many seconds between them."""
    mute: bool = False
    """Close the connection without an answer."""
    raw: bytes | None = None
    """Send these bytes instead of an answer."""


@dataclass
class Site:
    """What the server publishes, how it answers, and what it was asked."""

    address: str
    files: dict[str, bytes]
    script: list[Reply] = field(default_factory=list)
    """Answers to the next requests, in order; then `always`."""
    always: Reply = field(default_factory=Reply)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """(path, headers in lower case) of each request."""
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"{self.address}/{name}"

    def ranges(self) -> list[str]:
        """The Range of each request so far."""
        return [headers.get("range", "") for _, headers in self.asked]


@contextlib.contextmanager
def serving(files: dict[str, bytes], certificate: Path | None = None) -> Iterator[Site]:
    """A site on a port of its own, for as long as this is open; https with a certificate (key and certificate in one file)."""
    site = Site("", files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the library gives it
            """Nothing on stderr."""

        def do_GET(self) -> None:
            with site.lock:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                reply = site.script.pop(0) if site.script else site.always
            self.close_connection = True
            with contextlib.suppress(OSError):
                _answer(self, site, reply)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that breaks off is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.address = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, site: Site, reply: Reply) -> None:
    if reply.mute or reply.raw is not None:
        handler.wfile.write(reply.raw or b"")
        return
    name = handler.path.removeprefix(site.address).lstrip("/")  # a proxy is asked for the whole address
    content = site.files.get(name) if reply.body is None else reply.body
    if reply.status is not None or content is None:
        handler.send_response(reply.status or 404)
        _headers(handler, {"Content-Length": "0"}, reply)
        return
    start, status = _start(handler, reply, len(content))
    if start >= len(content) and status == 206:
        handler.send_response(416)
        _headers(handler, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}, reply)
        return
    body = content[start:]
    handler.send_response(status)
    usual = {"Content-Type": "application/octet-stream"}
    if reply.chunked:
        usual["Transfer-Encoding"] = "chunked"
    elif not reply.silent:
        usual["Content-Length"] = str(len(body))
    if status == 206:
        usual["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    for name, value in (("ETag", reply.etag), ("Last-Modified", reply.modified)):
        if value is not None:
            usual[name] = value
    _headers(handler, usual, reply)
    end = next((limit for limit in (reply.cut, reply.stall) if limit is not None), len(body))
    for at in range(0, len(body) if reply.drip else 0):
        handler.wfile.write(body[at : at + 1])
        if site.closing.wait(reply.drip):
            return
    for at in range(0, 0 if reply.drip else min(end, len(body)), 4096):
        piece = body[at : min(at + 4096, end)]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.chunked else piece)
    if reply.chunked and end >= len(body):
        handler.wfile.write(b"0\r\n\r\n")
    handler.wfile.flush()
    if reply.stall is not None:
        site.closing.wait()
    if reply.reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _start(handler: BaseHTTPRequestHandler, reply: Reply, size: int) -> tuple[int, int]:
    """(first byte to send, status), as the request's Range and If-Range ask."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not asked or not reply.ranges:
        return 0, 200
    condition = handler.headers.get("If-Range")
    if reply.if_range and condition is not None and condition not in (reply.etag, reply.modified):
        return 0, 200
    return min(int(asked[1]), size), 206


def _headers(handler: BaseHTTPRequestHandler, usual: dict[str, str], reply: Reply) -> None:
    for name, value in {**usual, **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
