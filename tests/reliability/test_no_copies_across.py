"""N5: no test picture is a near-copy of a training picture; and the search for copies stays quick and small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from topwork.copies import Copies, find_copies
from topwork.features.choose import Chosen, open_engine
from topwork.features.extract import Extraction, extract
from topwork.pictures.likeness import Hashes, candidate_pairs, likeness, linked_groups, unpack
from topwork.pictures.records import from_pairs, read_records
from topwork.pictures.splits import holdout

NEEDED = {"copy": 1, "q60": 1, "q90": 1, "half": 0.95, "crop": 0.95, "flip": 0.95, "flip and crop": 0.95}
"""Share of the planted pairs of each kind that must be found."""

MIRRORING = np.uint64(sum(1 << (63 - 8 * row - column) for row in range(8) for column in (1, 3, 5, 7)))
"""The bits of a hash that mirroring the picture flips."""


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chosen]:
    """The default backbone, converted once for this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPWORK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield open_engine("lite0", engine="openvino")


def altered(image: Image.Image, rng: np.random.Generator) -> Iterator[tuple[str, Image.Image, int]]:
    """(kind, picture, JPEG quality) of each way to plant a near-copy."""
    width, height = image.size
    left, top = rng.random(2) * 0.05 * np.array([width, height])
    cropped = image.crop((int(left), int(top), int(left + 0.95 * width), int(top + 0.95 * height)))
    yield from (("q60", image, 60), ("q90", image, 90))
    yield "half", image.resize((width // 2, height // 2), Image.Resampling.LANCZOS), 90
    yield "crop", cropped, 90
    yield "flip", ImageOps.mirror(image), 90
    yield "flip and crop", ImageOps.mirror(cropped), 80


def planted(photos: Path, folder: Path, count: int) -> list[tuple[Path, str, int, str]]:
    """(file, label, number of the photo, kind) of `count` photos and all their near-copies."""
    rng = np.random.default_rng(count)
    every = sorted((photos / "cats-vs-dogs" / "train").rglob("*.jpg"))
    rows = []
    for number, place in enumerate(rng.permutation(len(every))[:count]):
        label = every[place].parent.name
        image = Image.open(every[place]).convert("RGB")
        for kind, data in (("original", every[place].read_bytes()), ("copy", every[place].read_bytes())):
            (folder / f"{number}-{kind}.jpg").write_bytes(data)
            rows.append((folder / f"{number}-{kind}.jpg", label, number, kind))
        for kind, changed, quality in altered(image, rng):
            changed.save(folder / f"{number}-{kind}.jpg", quality=quality)
            rows.append((folder / f"{number}-{kind}.jpg", label, number, kind))
    return rows


def assert_found(groups: np.ndarray, rows: list[tuple[Path, str, int, str]]) -> None:
    """Enough of each kind in the group of its original, and next to nothing else."""
    numbers = np.array([number for _, _, number, _ in rows])
    original = {number: place for place, (_, _, number, kind) in enumerate(rows) if kind == "original"}
    for kind, needed in NEEDED.items():
        places = [place for place, row in enumerate(rows) if row[3] == kind]
        found = np.mean([groups[place] == groups[original[numbers[place]]] for place in places])
        assert found >= needed, (kind, found)
    mixed = sum(len(set(numbers[groups == group])) - 1 for group in np.unique(groups))
    assert mixed <= max(1, 0.01 * len(original)), f"{mixed} of {len(original)} photos were taken for a copy of another"


@pytest.mark.photos
@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.full)])
def test_planted_copies_are_found_and_stay_on_one_side(photos: Path, tmp_path: Path, lite0: Chosen, count: int) -> None:
    rows = planted(photos, tmp_path, count)
    found = extract(from_pairs([(file, label) for file, label, _, _ in rows]), lite0.spec, lite0.engine)
    assert len(found.table) == len(rows)
    copies = find_copies(found, lite0.spec.views["last+stages"])
    assert_found(copies.groups, rows)
    assert_no_pair_crosses(found, copies)
    originals = [place for place, row in enumerate(rows) if row[3] == "original"]
    in_a_crowd(found, rows, originals, lite0.spec.views["last+stages"])


def assert_no_pair_crosses(found: Extraction, copies: Copies) -> None:
    for seed in range(3):
        held = holdout(found.records.labels, copies.groups, list(found.records.classes), seed=seed)
        assert 0.1 < held.mean() < 0.3
        assert not set(copies.groups[held]) & set(copies.groups[~held])


def in_a_crowd(found: Extraction, rows: list[tuple[Path, str, int, str]], originals: list[int], columns: np.ndarray) -> None:
    """The same pairs are proposed among 20,000 other pictures, where not every pair can be looked at."""
    hashes, mirrors = unpack(found.likeness)
    crowd = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    every, turned = np.concatenate([hashes, crowd]), np.concatenate([mirrors, crowd ^ MIRRORING])
    pairs = candidate_pairs(every, turned)
    proposed = {(int(a), int(b)) for a, b in every[pairs]}
    original = {rows[place][2]: int(hashes[place]) for place in originals}
    for kind, needed in NEEDED.items():
        two = [(original[row[2]], int(hashes[place])) for place, row in enumerate(rows) if row[3] == kind]
        share = np.mean([a == b or (a, b) in proposed or (b, a) in proposed for a, b in two])
        assert share >= needed, (kind, share)


def test_noise_is_no_copy_of_noise(drawn: Path, lite0: Chosen) -> None:
    found = extract(read_records(drawn), lite0.spec, lite0.engine)
    copies = find_copies(found, lite0.spec.views["last+stages"])
    assert len(np.unique(copies.groups)) == 12
    assert (copies.exact, copies.near) == ([], [])


def noisy(hashes: Hashes, rng: np.random.Generator, flips: int) -> Hashes:
    for _ in range(flips):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64))
    return hashes


@pytest.mark.parametrize(
    ("count", "flips", "needed"),
    [(20_000, 8, 0.99), (100_000, 5, 0.97), pytest.param(200_000, 5, 0.97, marks=pytest.mark.full)],
)
def test_many_pictures_take_little_memory(count: int, flips: int, needed: float) -> None:
    """Also of pictures that are mirrored. Memory, not time, is asserted: a busy machine makes no false alarm."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    hashes[1000:2000] = noisy(hashes[:1000], rng, flips)
    hashes[3000:4000] = noisy(hashes[2000:3000], rng, flips) ^ MIRRORING
    tracemalloc.start()
    pairs = candidate_pairs(hashes, hashes ^ MIRRORING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    keys = pairs[:, 0] * count + pairs[:, 1]
    for start in (0, 2000):
        places = np.arange(start, start + 1000)
        assert np.isin(places * count + places + 1000, keys).mean() >= needed
    assert peak < 250 * 2**20
    assert len(pairs) < 4_000_000


def test_large_groups_stay_whole() -> None:
    """20,000 pictures in groups of 17, nearly equal; and 5,000 that are all nearly or wholly equal."""
    rng = np.random.default_rng(0)
    hashes = noisy(np.repeat(rng.integers(0, 2**64, 20_000 // 17, dtype=np.uint64), 17), rng, 1)
    pairs = candidate_pairs(hashes, hashes ^ MIRRORING)
    near = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]) <= 2
    groups = linked_groups(len(hashes), pairs[near])
    np.testing.assert_array_equal(groups, np.arange(len(hashes)) // 17 * 17)
    tracemalloc.start()
    alike = noisy(np.full(5_000, hashes[0]), rng, 2)
    pairs = candidate_pairs(alike, alike ^ MIRRORING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not linked_groups(len(alike), pairs).any()
    assert peak < 250 * 2**20
    equal = np.full(100_000, hashes[0])
    assert not linked_groups(len(equal), candidate_pairs(equal, equal ^ MIRRORING)).any()


def test_groups_are_named_by_their_first_member() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 40))
        pairs = np.sort(rng.integers(0, n, (int(rng.integers(0, 30)), 2)), axis=1)
        wanted = list(range(n))
        for _ in range(n):
            for a, b in pairs:
                wanted[a] = wanted[b] = min(wanted[a], wanted[b])
        assert linked_groups(n, pairs).tolist() == wanted


def test_a_mirrored_picture_has_the_mirrored_hash() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    (plain, mirrored), (plain_mirror, twice) = (
        unpack([likeness(one)]) for one in (pixels, np.ascontiguousarray(pixels[:, ::-1]))
    )
    assert (plain, mirrored) == (twice, plain_mirror)
    assert mirrored == plain ^ MIRRORING
