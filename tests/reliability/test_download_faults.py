"""What servers, networks and disks do wrong, and what a download makes of it: the right file, or a message and no file."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from faults import nth_call
from faulty_server import CONTENT, SHA256, Reply, Site, serving, whole

from topwork.download import download
from topwork.errors import DownloadError, StorageError

pytestmark = pytest.mark.usefixtures("no_pause")

SIZE = len(CONTENT)
OTHER = bytes(reversed(CONTENT))
HALF = Reply(cut=SIZE // 2)

HEALED = {
    # answers of the server, Range headers of the requests
    "cut, then resumed": ([HALF], ["", "bytes=75000-"]),
    "no Range": ([HALF, Reply(ranges=False)], ["", "bytes=75000-"]),
    "never any Range, and cut": ([HALF, Reply(ranges=False, cut=10), Reply(ranges=False)], ["", "bytes=75000-", "bytes=10-"]),
    "weak ETag, a date": (
        [Reply(cut=9, etag='W/"1"', modified="Tue, 01 Oct 2024 10:00:00 GMT"), Reply()],
        ["", "bytes=9-"],
    ),
    "no validator": ([Reply(cut=9, etag=None)], ["", "bytes=9-"]),
    "chunked, cut": ([Reply(chunked=True, cut=70_000)], ["", "bytes=70000-"]),
    "closed without an answer": ([Reply(mute=True), HALF, Reply(mute=True)], ["", "", "bytes=75000-", "bytes=75000-"]),
    "no HTTP": ([Reply(raw=b"\x00\x01\x02\r\n\r\n"), Reply(raw=b"HTTP/1.1 banana\r\n\r\n")], ["", "", ""]),
    "endless header": ([Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000)], ["", ""]),
    "a hundred headers": ([Reply(headers={f"X-{n}": "1" for n in range(120)})], ["", ""]),
    "busy for a while": (
        [Reply(status=503, headers={"Retry-After": "0"}), Reply(status=429), HALF],
        ["", "", "", "bytes=75000-"],
    ),
    "another part than asked for": ([HALF, Reply(headers={"Content-Range": f"bytes 0-9/{SIZE}"})], ["", "bytes=75000-", ""]),
    "a part without its place": ([HALF, Reply(headers={"Content-Range": "all"})], ["", "bytes=75000-", ""]),
    "wrong bytes in the second part": ([HALF, Reply(body=OTHER)], ["", "bytes=75000-", ""]),
    "nothing after what is there": ([HALF, Reply(status=416)], ["", "bytes=75000-", ""]),
    "a longer length than it sends": ([Reply(headers={"Content-Length": str(SIZE)}, body=CONTENT[:50])], ["", "bytes=50-"]),
    "moved": ([Reply(status=302, headers={"Location": "/f.bin"}), HALF], ["", "", "bytes=75000-"]),
    "moved, relative, with Range": ([HALF, Reply(status=307, headers={"Location": "f.bin"})], ["", *["bytes=75000-"] * 2]),
    "no length, hash known": ([Reply(silent=True)], [""]),
    "no length, cut, size known": ([Reply(silent=True, cut=40_000)], ["", "bytes=40000-"]),
}


@pytest.mark.parametrize("name", HEALED)
def test_heals(site: Site, file: Path, name: str) -> None:
    site.script[:], expected = HEALED[name]
    whole(file, download(site.url("f.bin"), file, SHA256, SIZE))
    assert site.ranges() == expected


CHANGED = {
    "If-Range understood": Reply(etag='"2"', body=OTHER),
    "If-Range not understood": Reply(etag='"2"', body=OTHER, if_range=False),
    "no Range": Reply(etag='"2"', body=OTHER, ranges=False),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_file_is_never_mixed(site: Site, file: Path, name: str) -> None:
    site.script[:] = [HALF]
    site.always = CHANGED[name]
    whole(file, download(site.url("f.bin"), file), OTHER)
    assert site.asked[1][1]["if-range"] == '"1"'


def test_without_hash_and_validator_nothing_is_appended(site: Site, file: Path) -> None:
    site.script[:] = [Reply(cut=SIZE // 2, etag=None), Reply(etag=None)]
    whole(file, download(site.url("f.bin"), file))
    assert site.ranges() == ["", ""]


REFUSED = {
    # answers, words of the message, bytes that are kept
    "not there": (Reply(status=404), "answers 404 Not Found", 0),
    "forbidden": (Reply(status=403), "answers 403 Forbidden", 0),
    "always busy": (Reply(status=503), "answers 503 Service Unavailable", 0),
    "part of what was not asked for": (Reply(status=206), "answers 206", 0),
    "a login page": (Reply(headers={"Content-Type": "text/html; charset=utf-8"}), "answers with a web page", 0),
    "another size": (Reply(body=CONTENT + b"x"), f"has a file of {SIZE + 1} bytes, expected {SIZE}", 0),
    "wrong bytes": (Reply(body=OTHER), f"sends other bytes than expected: SHA-256 {SHA256}", 0),
    "longer than it says": (Reply(silent=True, body=CONTENT + b"x"), f"sends more than the {SIZE} bytes", 0),
    "always cut at one place": (Reply(cut=100, ranges=False), f"the connection was closed after 100 of {SIZE} bytes", 100),
    "a circle": (Reply(status=301, headers={"Location": "/f.bin"}), "redirects more than 10 times", 0),
    "to a file": (Reply(status=301, headers={"Location": "file:///etc/passwd"}), "leads to 'file:///etc/passwd'", 0),
    "to ftp": (Reply(status=301, headers={"Location": "ftp://127.0.0.1/x"}), "leads to 'ftp://127.0.0.1/x'", 0),
    "to data": (Reply(status=301, headers={"Location": "data:,x"}), "leads to 'data:,x'", 0),
    "to no address": (Reply(status=301, headers={"Location": "http://[::1"}), "which is no web address", 0),
    "to a strange port": (Reply(status=301, headers={"Location": "http://127.0.0.1:x/"}), "which is no web address", 0),
    "to a strange name": (Reply(status=301, headers={"Location": "http://a..b/\u00e4"}), "is no address that can be read", 0),
    "no HTTP, ever": (Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "the connection failed", 0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(site: Site, file: Path, name: str) -> None:
    site.always, words, kept = REFUSED[name]
    with pytest.raises(DownloadError) as raised:
        download(site.url("f.bin"), file, SHA256, SIZE)
    for expected in (words, site.url("f.bin"), SHA256, f"put it at {file}"):
        assert expected in str(raised.value)
    left = {path.name: path.stat().st_size for path in file.parent.iterdir()}
    assert left == {} if not kept else left["f.bin.part"] == kept and f"{kept} bytes are kept" in str(raised.value)
    # The next address is tried, and what went wrong before does not matter.
    with serving({"f.bin": CONTENT}) as good:
        whole(file, done := download([site.url("f.bin"), good.url("f.bin")], file, SHA256, SIZE))
        assert done.address == good.url("f.bin")


def test_an_empty_file_is_none(site: Site, file: Path) -> None:
    site.always = Reply(body=b"")
    with pytest.raises(DownloadError, match="has an empty file"):
        download(site.url("f.bin"), file)
    whole(file, download(site.url("f.bin"), file, size=0), b"")


def test_an_end_that_cannot_be_told_from_a_cut(site: Site, file: Path) -> None:
    site.always = Reply(silent=True)
    with pytest.raises(DownloadError, match="does not say how long the file is"):
        download(site.url("f.bin"), file)
    site.always = Reply(chunked=True)  # says where it ends
    whole(file, download(site.url("f.bin"), file))


def test_a_page_in_between_costs_nothing(site: Site, file: Path) -> None:
    """What came before a login page, a lost network or another size is still there afterwards."""
    site.script[:] = [HALF, Reply(headers={"Content-Type": "text/html"})]
    with pytest.raises(DownloadError, match=r"75\.0 kB are kept"):
        download(site.url("f.bin"), file, SHA256)
    site.script[:] = [Reply(status=404)]
    with pytest.raises(DownloadError, match=r"75\.0 kB are kept"):
        download(site.url("f.bin"), file, SHA256)
    assert download(site.url("f.bin"), file, SHA256).resumed == 75_000
    assert site.ranges() == ["", *["bytes=75000-"] * 3]


def test_what_one_address_began_another_ends(site: Site, file: Path) -> None:
    """Known bytes may come from anywhere; unknown ones only from where they began."""
    with serving({"f.bin": CONTENT}) as other:
        for sha256, asked in ((SHA256, "bytes=75000-"), (None, "")):
            site.script[:] = [HALF, *[Reply(mute=True)] * 4]
            done = download([site.url("f.bin"), other.url("f.bin")], file, sha256)
            whole(file, done)
            assert done.address == other.url("f.bin") and other.ranges()[-1] == asked
            file.unlink()


@pytest.mark.parametrize(
    "reply", [Reply(stall=50_000, ranges=False), Reply(stall=0), Reply(drip=0.05)], ids=["stall", "silence", "drip"]
)
def test_a_stalled_connection_is_cut(site: Site, file: Path, reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.download.TIMEOUT", 0.3)
    site.script[:] = [reply]
    whole(file, download(site.url("f.bin"), file, SHA256))
    monkeypatch.setattr("topwork.download.TRIES", 2)
    file.unlink()
    site.always = reply
    with pytest.raises(DownloadError, match=r"no answer for 0|fewer than 1024 bytes in 0"):
        download(site.url("f.bin"), file, SHA256)


def test_no_network(file: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/f.bin"
        with pytest.raises(DownloadError) as raised:
            download(address, file, SHA256, remedy="Give it with --from FILE.")
    assert str(raised.value).startswith(f"f.bin could not be fetched. {address}: the connection failed (Connection refused).")
    assert str(raised.value).endswith(" Give it with --from FILE.") and not list(file.parent.iterdir())


@pytest.mark.parametrize("address", ["f.bin", "file:///etc/passwd", "ftp://a/b", "http://", "http://a b/c\n", "http://[", ""])
def test_no_address(address: str, file: Path) -> None:
    with pytest.raises(DownloadError, match=r"is no web address|is no address that can be read"):
        download(address, file)


def test_a_file_that_is_there_is_never_touched(site: Site, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=f"expected SHA-256 {SHA256}, 150.0 kB, found .*, 4 bytes. Remove it and run again"):
        download(site.url("f.bin"), file, SHA256, SIZE)
    assert file.read_bytes() == b"mine" and not site.asked
    file.unlink()
    file.mkdir()
    with pytest.raises(DownloadError, match="expected a file"):
        download(site.url("f.bin"), file)


def test_what_is_no_part_of_it_does_no_harm(site: Site, file: Path, tmp_path: Path) -> None:
    """Whatever lies in the place of what an earlier call left: the file comes out right, or nothing happens."""
    file.parent.mkdir()
    part, memory = file.with_name("f.bin.part"), file.with_name("f.bin.part.json")
    for number, junk in enumerate((b"", b"junk", CONTENT[:99] + b"x", OTHER, CONTENT + b"more", bytes(10**6), CONTENT)):
        memories = (b"", b"{", b"[]", b"null", b'{"address": 7}', b'{"size": "x"}', b"[" * 99_999, b'{"etag": "\\"1\\""}')
        part.write_bytes(junk)
        memory.write_bytes(memories[number])
        whole(file, download(site.url("f.bin"), file, SHA256))
        file.unlink()
    # Complete, says its memory, but of another address: without a hash that is no proof.
    part.write_bytes(OTHER)
    memory.write_text(f'{{"address": "http://elsewhere/f.bin", "size": {SIZE}}}')
    whole(file, download(site.url("f.bin"), file))
    file.unlink()
    if os.name != "nt":
        victim = tmp_path / "victim"
        victim.write_bytes(b"mine")
        for place in (part, file.with_name("f.bin.part.lock")):
            place.symlink_to(victim)
            with pytest.raises(StorageError):
                download(site.url("f.bin"), file, SHA256)
            assert victim.read_bytes() == b"mine"
            place.unlink()


def test_proxy(site: Site, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.files["http://far.example/f.bin"] = CONTENT
    monkeypatch.setenv("http_proxy", site.address)
    whole(file, download("http://far.example/f.bin", file, SHA256))
    assert site.asked[0][0] == "http://far.example/f.bin"
    file.unlink()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    whole(file, download(site.url("f.bin"), file, SHA256))


def test_https(site: Site, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate, both = (tmp_path / name for name in ("key.pem", "certificate.pem", "both.pem"))
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with serving({"f.bin": CONTENT}, both) as secure:
        with pytest.raises(DownloadError, match=r"its certificate cannot be trusted \(self.signed certificate\)"):
            download(secure.url("f.bin"), file, SHA256)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure.script[:] = [HALF]
        whole(file, download(secure.url("f.bin"), file, SHA256))
        file.unlink()
        secure.script[:] = [Reply(status=302, headers={"Location": site.url("f.bin")})]
        with pytest.raises(DownloadError, match="leads away from https"):
            download(secure.url("f.bin"), file, SHA256)
        assert not site.asked
        site.script[:] = [Reply(status=302, headers={"Location": secure.url("f.bin")})]
        whole(file, download(site.url("f.bin"), file, SHA256))


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "failing", "read-only"])
def test_every_call_to_the_disk_may_fail(site: Site, tmp_path: Path, fault: int) -> None:
    """The nth call fails, for n = 1, 2, 3 ...: one message, no file; the next download goes on."""
    for nth in range(1, 100):
        file = tmp_path / str(nth) / "f.bin"
        site.script[:] = [HALF]
        try:
            with nth_call(nth, fault) as made:
                download(site.url("f.bin"), file, SHA256)
        except StorageError as error:
            assert str(tmp_path / str(nth)) in str(error)
            assert not file.exists() or "fsync" in made[-1]  # only the folder's own entry was left to do
        else:
            assert len(made) < nth and nth > 8
            return
        site.script.clear()
        whole(file, download(site.url("f.bin"), file, SHA256))
    raise AssertionError("never came to an end")


def test_too_small_a_disk(site: Site, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.download.free_bytes", lambda path: SIZE // 4)
    with pytest.raises(StorageError, match=r"37\.5 kB free, and 150\.0 kB are to come"):
        download(site.url("f.bin"), file, SHA256)
    site.script[:] = [HALF]
    monkeypatch.setattr("topwork.download.free_bytes", lambda path: SIZE)
    whole(file, download(site.url("f.bin"), file, SHA256))
