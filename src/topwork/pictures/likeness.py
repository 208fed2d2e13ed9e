"""Which pictures may be copies of each other: a perceptual hash of what the network sees, and candidate pairs by it.

A hash only proposes; features confirm (see `topwork.audit`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.pictures.decode import Pixels

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

LIKENESS_VERSION = 1
"""Part of the store's key: raise it when the same pixels give another hash."""

NEAR_BITS = 22
"""Pairs that differ in at most this many of 64 bits are proposed."""

COMPARISONS = 120_000_000
"""Comparisons of two hashes at most; beyond, each picture is only compared with its neighbours in several orders."""

_SIDE = 32
_KEPT = 8
_BASIS = np.cos(np.pi * np.arange(_KEPT)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)).astype(np.float32)
_MIRROR = np.where(np.arange(_KEPT) % 2 == 1, -1, 1).astype(np.float32)  # mirroring flips the odd horizontal waves


def likeness(pixels: Pixels) -> bytes:
    """16 bytes: the 64-bit hash of pixels (H, W, 3) and that of their mirror image.

    One bit for the sign of each of the 8 x 8 lowest waves of the grey picture (after Zauner 2010); the constant wave
    is left out.
    """
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = _BASIS @ np.asarray(grey, np.float32) @ _BASIS.T
    waves[0, 0] = 0
    return np.packbits([waves > 0, waves * _MIRROR > 0]).tobytes()


def unpack(rows: list[bytes]) -> tuple[Hashes, Hashes]:
    """(hashes, hashes of the mirror images), each (N,)."""
    both = np.frombuffer(b"".join(rows), ">u8").astype(np.uint64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def candidate_pairs(hashes: Hashes, mirrors: Hashes, bits: int = NEAR_BITS, seed: int = 0) -> Pairs:
    """Pairs (P, 2), first < second, whose hashes differ in at most `bits` bits, as they are or mirrored.

    Every pair is looked at while N is small; beyond, pictures are sorted by the hash under several drawn orders of its bits
    and each is compared with the next ones in each order, so that the work grows in proportion to N. Of many equal
    pictures each is paired with the next, which links them all the same.
    """
    n = len(hashes)
    if n < 2:
        return np.empty((0, 2), np.int64)
    rng = np.random.default_rng(seed)
    found: list[Pairs] = []
    for other in (hashes, mirrors):
        if n * n // 2 <= COMPARISONS:
            found += _compare(hashes, other, np.arange(n), n - 1, bits)
            continue
        orders = 8
        window = max(8, COMPARISONS // (orders * n * (1 if other is hashes else 2)))
        values = hashes if other is hashes else np.concatenate([hashes, mirrors])
        for _ in range(orders):
            order = np.argsort(_shuffled(values, rng), kind="stable")
            found += _compare(values, values, order, window, bits, n)
    pairs = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    pairs = np.sort(pairs, axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _compare(
    first: Hashes, second: Hashes, order: NDArray[np.int64], window: int, bits: int, wrap: int | None = None
) -> list[Pairs]:
    found = []
    left_values, right_values = first[order], second[order]
    for step in range(1, min(window, len(order) - 1) + 1):
        near = np.flatnonzero(np.bitwise_count(left_values[:-step] ^ right_values[step:]) <= bits)
        if len(near):
            found.append(np.stack([order[near], order[near + step]], axis=1) % (wrap or len(first)))
    return found


def _shuffled(values: Hashes, rng: np.random.Generator) -> Hashes:
    """The values with their bits in a drawn order."""
    out = np.zeros_like(values)
    for target, source in enumerate(rng.permutation(64)):
        out |= ((values >> np.uint64(source)) & np.uint64(1)) << np.uint64(target)
    return out


def linked_groups(n: int, pairs: Pairs) -> NDArray[np.int64]:
    """Group of every picture (N,): the smallest index among those that pairs (P, 2) link it to."""
    parent = np.arange(n)

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        return place

    for left, right in pairs:
        a, b = root(int(left)), root(int(right))
        parent[max(a, b)] = min(a, b)
    return np.array([root(place) for place in range(n)], np.int64)
