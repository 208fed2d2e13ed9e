"""Archives built byte by byte, so that they can lie."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

OUTSIDE = "topwork-evil"
"""A file of this name is what a hostile archive wants to write outside."""

FILE, LINK, PIPE = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644


@dataclass(frozen=True)
class Z:
    """An entry of a zip; what is None is told truly."""

    name: str | bytes = "a/b.txt"
    data: bytes = b"hello hello hello"
    mode: int = FILE
    method: int = 8
    flags: int = 0
    stated: int | None = None
    """Size in the table."""
    local_stated: int | None = None
    local_name: bytes | None = None
    crc: int | None = None
    packed: bytes | None = None
    """The packed bytes."""
    packed_stated: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    offset: int | None = None
    disk: int = 0


def a_zip(
    entries: Iterable[Z],
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    table_offset: int | None = None,
    table_size: int | None = None,
    disk: int = 0,
    end64: Callable[[int, int, int], bytes] | None = None,
) -> bytes:
    """A zip file; end64(count, table size, table offset) gives what stands before the end record."""
    entries = list(entries)
    body, table = bytearray(before), bytearray()
    for one in entries:
        name = one.name if isinstance(one.name, bytes) else one.name.encode()
        flags = one.flags | (0 if isinstance(one.name, bytes) else 2048)
        packed = one.packed
        if packed is None:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(one.data) + packer.flush() if one.method == 8 else one.data
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        size = len(one.data) if one.stated is None else one.stated
        local_size = size if one.local_stated is None else one.local_stated
        packed_size = len(packed) if one.packed_stated is None else one.packed_stated
        offset = len(body) if one.offset is None else one.offset
        local_name = name if one.local_name is None else one.local_name
        numbers = (one.method, 0, 33, crc, packed_size)
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, *numbers, local_size, len(local_name), len(one.local_extra))
        body += local_name + one.local_extra + packed
        table += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\1\2", 3 << 8 | 20, 20, flags, *numbers, size, len(name), len(one.extra), 0, one.disk, 0),
            one.mode << 16,
            offset,
        )
        table += name + one.extra
    total = len(entries) if count is None else count
    start = len(body) if table_offset is None else table_offset
    length = len(table) if table_size is None else table_size
    ends = end64(total, length, start) if end64 else b""
    end = struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, total & 0xFFFF, total & 0xFFFF, length, start, len(comment))
    return bytes(body + table) + ends + end + comment + after


def end64(count: int, length: int, start: int, place: int | None = None, size: int = 44) -> bytes:
    """A 64-bit end record and its locator, for a table that is followed by it."""
    place = start + length if place is None else place
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", size, 45, 45, 0, 0, count, count, length, start)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


def t(
    name: str | bytes = "a/b.txt",
    data: bytes = b"hello",
    kind: bytes = b"0",
    link: bytes = b"",
    size: bytes | None = None,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """An entry of a tar; what is None is told truly."""
    raw = name if isinstance(name, bytes) else name.encode()
    header = bytearray(512)
    header[0 : len(raw[:100])] = raw[:100]
    header[100:124] = b"0000644\x000000000\x000000000\x00"
    header[124:136] = (b"%011o\0" % len(data)) if size is None else size.ljust(12, b"\0")
    header[136:148] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[157 : 157 + len(link)] = link
    header[257 : 257 + len(magic)] = magic
    header[345 : 345 + len(prefix)] = prefix
    header[148:156] = (b"%06o\0 " % sum(header)) if checksum is None else checksum
    return bytes(header) + data + bytes(-len(data) % 512)


def pax(kind: bytes = b"x", stated: bytes | None = None, **records: str | bytes) -> bytes:
    """A pax header with these records."""
    body = b""
    for name, value in records.items():
        rest = b" " + name.replace("__", ".").encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return t("pax", body, kind, size=stated)


def a_tar(*entries: bytes, end: bytes = bytes(1024)) -> bytes:
    """A tar file of entries."""
    return b"".join(entries) + end


def gz(data: bytes) -> bytes:
    """Packed by gzip."""
    return gzip.compress(data, mtime=0)


def bad_gz(data: bytes, cut: int = 0, flip: int | None = None, after: bytes = b"") -> bytes:
    """Packed by gzip, then damaged."""
    packed = bytearray(gz(data))
    if flip is not None:
        packed[flip] ^= 0xFF
    return bytes(packed[: len(packed) - cut]) + after


def _names() -> dict[str, tuple[list[str], str]]:
    """Names of entries that are refused, and why."""
    return {
        "up": ([f"../{OUTSIDE}"], "names a place outside"),
        "down and up": ([f"a/../../{OUTSIDE}"], "names a place outside"),
        "up within": (["a/../b"], "names a place outside"),
        "absolute": ([f"/{OUTSIDE}"], "names a place outside"),
        "absolute, doubled": ([f"//{OUTSIDE}"], "names a place outside"),
        "drive": ([f"C:/{OUTSIDE}"], "names a place outside"),
        "drive without slash": ([f"c:{OUTSIDE}"], "names a place outside"),
        "backslash up": ([f"..\\{OUTSIDE}"], "a backslash"),
        "network share": ([f"\\\\server\\share\\{OUTSIDE}"], "a backslash"),
        "line end": (["a\nb"], "control characters"),
        "escape sequence": (["\x1b[2Ja"], "control characters"),
        "reads backwards": (["photo\u202egpj.exe"], "control characters"),
        "dot": (["."], "no name"),
        "slashes and dots": (["././/."], "no name"),
        "twice": (["a.txt", "a.txt"], "comes twice"),
        "twice by detour": (["a.txt", ".//a.txt"], "comes twice"),
        "case": (["a/B.txt", "a/b.TXT"], "differs from another one only in case"),
        "accents": (["caf\u00e9", "cafe\u0301"], "comes twice"),
        "case of folders": (["A/x", "a/y"], "its folder differs"),
        "file, then folder": (["a", "a/b"], "a file is above it"),
        "folder, then file": (["a/b", "a"], "a file and a folder"),
        "reserved": (["x/CON"], "reserved on Windows"),
        "reserved with ending": (["com1.jpg"], "reserved on Windows"),
        "reserved, raised": (["LPT\u00b2.txt"], "reserved on Windows"),
        "dot at its end": (["a."], "not every system"),
        "space at its end": (["a /b"], "not every system"),
        "three dots": (["..."], "not every system"),
        "second stream": (["a.txt:evil"], "not every system"),
        "star": (["*.txt"], "not every system"),
        "deep": (["/".join("abcdefghijklmnopqrstuvwxyz")], "more than 16 folders"),
        "long part": (["x" * 256], "too long"),
        "long": (["/".join(["x" * 200] * 6)], "too long"),
    }


def hostile_zips() -> dict[str, tuple[bytes, str]]:
    """Hostile zip files by name, and words of the reason."""
    one = Z()
    two = [Z("first"), Z("second")]
    first_local = 30 + len("first")
    packed = a_zip([Z("first")]).find(b"PK\1\2") - first_local
    zeros = bytes(40 << 20)
    found = {f"name: {name}": (a_zip([Z(n) for n in names]), why) for name, (names, why) in _names().items()}
    found |= {
        "name: none": (a_zip([Z(b"")]), "no name"),
        "name: NUL": (a_zip([Z(b"a.jpg\0.exe")]), "control characters"),
        "name: no UTF-8": (a_zip([Z(b"\xff\xfe", flags=2048)]), "is no text"),
        "name: longer than a path": (a_zip([Z("y" * 60_000)]), "too long"),
        "link": (a_zip([Z("l", b"/etc", LINK)]), "it is a link"),
        "through a link": (a_zip([Z("l", b"/", LINK), Z(f"l/{OUTSIDE}")]), "it is a link"),
        "pipe": (a_zip([Z(mode=PIPE)]), "a device or pipe"),
        "device": (a_zip([Z(mode=stat.S_IFBLK | 0o644)]), "a device or pipe"),
        "folder with content": (a_zip([Z("a/")]), "a folder with content"),
        "folder with a file's name": (a_zip([Z("a", b"", stat.S_IFDIR | 0o755)]), "a folder with a file's name"),
        "encrypted": (a_zip([replace(one, flags=1)]), "encrypted"),
        "encrypted in its own header only": (_flip(a_zip([one]), 6, 1), "not what the table says"),
        "bzip2": (a_zip([replace(one, method=12)]), "packed by bzip2"),
        "unknown method": (a_zip([replace(one, method=77)]), "packed by method 77"),
        "bomb": (a_zip([Z(data=zeros)]), "a bomb"),
        "bomb that states little": (a_zip([Z(data=zeros, stated=10)]), "more comes out"),
        "states more": (a_zip([replace(one, stated=99)]), "checksum or size is wrong"),
        "states 4 GiB": (a_zip([replace(one, stated=0xFFFFFFFE)]), "come out of it"),
        "one size here, one there": (a_zip([replace(one, local_stated=99)]), "not what the table says"),
        "one name here, one there": (a_zip([replace(one, local_name=b"a/c.txt")]), "not what the table says"),
        "wrong checksum": (a_zip([replace(one, crc=7)]), "checksum or size is wrong"),
        "no deflate": (a_zip([replace(one, packed=b"\xff" * 20)]), "it is damaged"),
        "deflate that never ends": (a_zip([replace(one, packed=b"\x00\x05\x00\xfa\xffhello")]), "ends early"),
        "content after its end": (a_zip([replace(one, packed=b"\x03\x00rest", data=b"")]), "after its content"),
        "stored, shorter": (a_zip([replace(one, method=0, packed_stated=5)]), "checksum or size is wrong"),
        "all over one content": (a_zip([Z("first"), *[Z(f"n{n}", offset=0) for n in range(50)]]), "overlaps"),
        "one within another": (a_zip([Z("first", packed_stated=packed + 40), Z("second")]), "overlaps"),
        "a long own extra field": (
            _patch(a_zip([Z("first", local_extra=b""), *two[1:]]), 28, struct.pack("<H", packed + 20)),
            "overlaps",
        ),
        "starts elsewhere": (a_zip([replace(one, offset=5)]), "before its first entry"),
        "starts behind the end": (a_zip([two[0], replace(two[1], offset=1 << 30)]), "overlaps"),
        "64-bit size missing": (a_zip([replace(one, stated=0xFFFFFFFF)]), "a 64-bit size is missing"),
        "64-bit size cut": (
            a_zip([replace(one, stated=0xFFFFFFFF, extra=struct.pack("<2HL", 1, 4, 9))]),
            "a 64-bit size is missing",
        ),
        "64-bit lie": (a_zip([replace(one, stated=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 1 << 60))]), "come out of it"),
        "64-bit end that differs": (a_zip([one], end64=lambda n, length, start: end64(n + 1, length, start)), "records differ"),
        "64-bit end elsewhere": (
            a_zip([one], end64=lambda n, length, start: end64(n, length, start, 0)),
            "damaged, or ends early",
        ),
        "64-bit end too long": (
            a_zip([one], end64=lambda *numbers: end64(*numbers, size=99)),
            "not where it says",
        ),
        "many entries stated": (a_zip([one], count=60_000), "not where it says"),
        "more entries stated": (a_zip([one, Z("b", extra=bytes(60))], count=3), "damaged, or ends early"),
        "fewer entries stated": (a_zip(two, count=1), "shorter than it says"),
        "no entries stated": (a_zip(two, count=0), "shorter than it says"),
        "table elsewhere": (a_zip([one], table_offset=3), "not where it says"),
        "table longer": (a_zip([one], table_size=400), "not where it says"),
        "several parts": (a_zip([one], disk=1), "one of several parts"),
        "an entry on another part": (a_zip([replace(one, disk=2)]), "one of several parts"),
        "something before": (a_zip([one], before=b"PK\3\4 and more"), "before its first entry"),
        "something after": (a_zip([one], after=b"#!/bin/sh"), "after its end"),
        "two ends": (a_zip([one], comment=a_zip([])), "in two ways"),
        "only an end": (a_zip([])[:-3], "ends early"),
        "too many": (a_zip(Z(f"{n}", b"") for n in range(3001)), "more than 3000 entries"),
        "one too large": (a_zip([Z(data=bytes(3 << 20))]), "more than 2097152 bytes"),
    }
    return found


def _patch(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _flip(data: bytes, at: int, bits: int) -> bytes:
    return _patch(data, at, bytes([data[at] ^ bits]))


def hostile_tars() -> dict[str, tuple[bytes, str]]:
    """Hostile tar files by name, and words of the reason."""
    found: dict[str, tuple[bytes, str]] = {}
    for name, (names, why) in _names().items():
        entries = [pax(path=n) + t("x") if len(n.encode()) > 100 else t(n) for n in names]
        found[f"name: {name}"] = (a_tar(*entries), why)
    good = a_tar(t())
    long = b"../" + OUTSIDE.encode() + b"\0"
    found |= {
        "name: none": (a_tar(t("")), "no name"),
        "name: no UTF-8": (a_tar(t(b"\xff\xfe")), "is no text"),
        "name: prefix": (a_tar(t(OUTSIDE, prefix=b"..")), "names a place outside"),
        "name: NUL in pax": (a_tar(pax(path=b"a\0b"), t("x")), "control characters"),
        "name: pax up": (a_tar(pax(path=f"../{OUTSIDE}"), t("harmless")), "names a place outside"),
        "name: pax for all": (a_tar(pax(b"g", path=f"../{OUTSIDE}"), t("harmless")), "one name or size for all"),
        "name: GNU up": (a_tar(t("././@LongLink", long, b"L"), t("harmless")), "names a place outside"),
        "name: GNU, longer than a path": (a_tar(t("././@LongLink", b"y" * 60_000, b"L"), t("x")), "too long"),
        "name: GNU, endless": (a_tar(t("././@LongLink", b"y" * 99_000, b"L"), t("x")), "a name is too long"),
        "link": (a_tar(t("l", b"", b"2", b"/etc")), "it is a link"),
        "through a link": (a_tar(t("l", b"", b"2", b"/"), t(f"l/{OUTSIDE}")), "it is a link"),
        "link that pax hides": (a_tar(pax(linkpath="/etc"), t("l", b"", b"2", b"here")), "it is a link"),
        "hard link": (a_tar(t("l", b"", b"1", b"/etc/passwd")), "a hard link"),
        "hard link with content": (a_tar(t(), t("l", b"evil", b"1", b"a/b.txt")), "a hard link"),
        "character device": (a_tar(t("d", b"", b"3")), "a device"),
        "block device": (a_tar(t("d", b"", b"4")), "a device"),
        "pipe": (a_tar(t("p", b"", b"6")), "a pipe"),
        "holes": (a_tar(t("h", b"", b"S")), "a file with holes"),
        "holes by pax": (a_tar(pax(GNU__sparse__major="1"), t("h")), "a file with holes"),
        "unknown kind": (a_tar(t("u", b"", b"Z")), "unknown kind 'Z'"),
        "folder with content": (a_tar(t("d", b"evil", b"5")), "a folder with content"),
        "size below zero": (a_tar(t(size=b"\xff" * 12)), "a size below zero"),
        "a huge size": (a_tar(t(size=b"\x80" + b"\xff" * 11)), "more than 2097152 bytes"),
        "a size that is no number": (a_tar(t(size=b"0000000009z")), "a number is none"),
        "a pax size that is no number": (a_tar(pax(size=b"1_000"), t()), "a number is none"),
        "a pax size below zero": (a_tar(pax(size="-512"), t()), "a number is none"),
        "a pax size beyond the end": (a_tar(pax(size="99999"), t()), "ends early"),
        "a pax header of 8 GiB": (a_tar(pax(stated=b"77777777777", path="x"), t()), "too long"),
        "a pax record that ends early": (a_tar(t("pax", b"99 path=x\n", b"x"), t()), "a pax header is none"),
        "a pax record of no length": (a_tar(t("pax", b"0 path=x\n", b"x"), t()), "a pax header is none"),
        "a pax record within itself": (a_tar(t("pax", b"3 path=x\n", b"x"), t()), "a pax header is none"),
        "a pax record without end": (a_tar(t("pax", b"9 path=xy", b"x"), t()), "a pax header is none"),
        "wrong checksum": (a_tar(t(), t("b", checksum=b"0000000\0")), "it is damaged"),
        "cut in a header": (good[:700] + t("b")[:100], "ends early"),
        "cut in a content": (a_tar(t(data=bytes(5000)))[:2000], "ends early"),
        "no end": (a_tar(t(), end=b""), "ends early"),
        "too many": (a_tar(*[t(f"{n}", b"") for n in range(3001)]), "more than 3000 entries"),
        "too many descriptions": (a_tar(*[t("x", b"y", b"K")] * 3001, t()), "more than 3000 entries"),
        "one too large": (a_tar(t(data=bytes(3 << 20))), "more than 2097152 bytes"),
    }
    found = {f"{name}, {kind}": (pack(data), why) for name, (data, why) in found.items() for kind, pack in _PACKED.items()}
    zeros = t(data=bytes(2 << 20))[:512] + bytes(60 << 20)
    found |= {
        "more in all": (a_tar(*[t(f"{n}", bytes(2 << 20)) for n in range(40)]), "come out of it"),
        "bomb": (gz(a_tar(zeros)), "a bomb"),
        "bomb in a bomb's size": (
            gz(a_tar(t("z", size=b"77777777777", data=b"")) + bytes(60 << 20)),
            "more than 2097152 bytes",
        ),
        "bomb after the end": (gz(a_tar(t()) + bytes(60 << 20)), "a bomb"),
        "gzip cut": (bad_gz(good, cut=9), "ends early"),
        "gzip cut before its checksum": (bad_gz(good, cut=4), "ends early"),
        "gzip with a wrong checksum": (bad_gz(good, flip=-6), "it is damaged"),
        "gzip with a wrong length": (bad_gz(good, flip=-1), "it is damaged"),
        "gzip and more": (bad_gz(good, after=b"#!/bin/sh"), "after its end"),
        "gzip of many parts": (gz(good) + gz(b"") * 3001, "more than 3000 entries"),
        "gzip of no tar": (gz(b"hello" * 200), "damaged, or no tar"),
        "gzip of nothing": (gz(b""), "ends early"),
    }
    return found


_PACKED: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "packed": gz}


def other_files() -> dict[str, tuple[bytes, str]]:
    """Files that are no archives, or archives of other kinds."""
    bzip2, xz = io.BytesIO(), io.BytesIO()
    for packed, mode in ((bzip2, "w:bz2"), (xz, "w:xz")):
        with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
            tar.addfile(tarfile.TarInfo("a"))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    return {
        "empty": (b"", "an empty file"),
        "web page": (b"<!DOCTYPE html><html>Not found</html>", "found a web page"),
        "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "found 7z"),
        "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(100), "found rar"),
        "tar.bz2": (bzip2.getvalue(), "found bzip2"),
        "tar.xz": (xz.getvalue(), "found xz"),
        "text": (b"hello " * 200, "found something else"),
        "zeros": (bytes(2000), "found something else"),
        "begin of a zip": (b"PK\3\4", "ends early"),
        "begin of a gzip": (b"\x1f\x8b", "ends early"),
        "zip that was cut": (a_zip([Z(), Z("b")])[:-60], "ends early"),
    }
