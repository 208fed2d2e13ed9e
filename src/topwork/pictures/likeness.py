"""Which pictures may be copies of each other: a perceptual hash of what the network sees, and candidate pairs by it.

A hash only proposes; features confirm (see `topwork.copies`).
"""

from __future__ import annotations

import math

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
"""Up to this many pairs each one is looked at; beyond, each picture is compared with those that agree in some steady bits."""

MOST_PAIRS = 4_000_000
"""Pairs proposed at most; where there are more, as among tiles of open sea, only the nearest are."""

_BANDS = 32
_WINDOW = 96
_EQUAL = 8
_BY_CHANCE = 4_000_000
_SIDE = 32
_KEPT = 8
_BASIS = np.cos(np.pi * np.arange(_KEPT)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)).astype(np.float32)
_MIRROR = np.where(np.arange(_KEPT) % 2 == 1, -1, 1).astype(np.float32)  # mirroring flips the odd horizontal waves
_STEADY = [63 - (_KEPT * row + column) for row in range(7) for column in range(7 - row) if row + column]
"""Bits of the longest waves: where a crop turns every fourth bit over, of these it turns every ninth."""
_STEADY_MASK = np.uint64(sum(1 << bit for bit in _STEADY))
_PIVOTS = [63 - (_KEPT * row + 1) for row in range(4)]
"""Steady bits that mirroring flips."""


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

    Every pair is looked at while N is small; beyond, the work grows in proportion to N, and a pair must be nearer the more
    pictures there are, so that few are proposed by chance. Of pictures with equal hashes each is paired with the next few,
    which links them all the same.
    """
    order = np.argsort(hashes, kind="stable")
    found = [np.empty((0, 2), np.int64)]
    for step in range(1, min(_EQUAL, len(order) - 1) + 1):
        equal = np.flatnonzero(hashes[order[:-step]] == hashes[order[step:]])
        found.append(np.stack([order[equal], order[equal + step]], axis=1))
    _, first = np.unique(hashes, return_index=True)
    n = len(first)
    near = _Nearest(n)
    if n * n // 2 <= COMPARISONS:
        _compare_all(hashes[first], mirrors[first], bits, near)
    else:
        _compare_in_bands(hashes[first], mirrors[first], seed, near)
    pairs = np.sort(np.concatenate([*found, first[near.pairs()]]), axis=1)
    return np.unique(pairs, axis=0)


class _Nearest:
    """Collects pairs of 0..n-1 with their distances; keeps the nearest when they become too many."""

    def __init__(self, n: int) -> None:
        self.limit = 255
        """Pairs farther apart than this are not wanted any more."""
        self._n = n
        self._keys: list[NDArray[np.int64]] = []
        self._distances: list[NDArray[np.uint8]] = []
        self._count = 0

    def add(self, first: Pairs, second: Pairs, distances: NDArray[np.uint8]) -> None:
        """Take pairs in; `distances` of those asked for in `limit`."""
        self._keys.append(np.minimum(first, second) * self._n + np.maximum(first, second))
        self._distances.append(distances)
        self._count += len(distances)
        if self._count > 2 * MOST_PAIRS:
            self._tidy()

    def _tidy(self) -> None:
        keys, places = np.unique(np.concatenate(self._keys), return_index=True)
        distances = np.concatenate(self._distances)[places]
        if len(keys) > MOST_PAIRS:
            kept = np.argsort(distances, kind="stable")[:MOST_PAIRS]
            keys, distances = keys[kept], distances[kept]
            self.limit = int(distances[-1]) - 1  # lower each time, so that this does not happen often
        self._keys, self._distances, self._count = [keys], [distances], len(keys)

    def pairs(self) -> Pairs:
        """(P, 2), each once."""
        if not self._keys:
            return np.empty((0, 2), np.int64)
        self._tidy()
        keys = self._keys[0]
        return np.stack([keys // self._n, keys % self._n], axis=1)


def _compare_all(hashes: Hashes, mirrors: Hashes, bits: int, near: _Nearest) -> None:
    for step in range(1, len(hashes)):
        left = hashes[:-step]
        distance = np.minimum(np.bitwise_count(left ^ hashes[step:]), np.bitwise_count(left ^ mirrors[step:]))
        places = np.flatnonzero(distance <= min(bits, near.limit))
        if len(places):
            near.add(places, places + step, distance[places])


def _compare_in_bands(hashes: Hashes, mirrors: Hashes, seed: int, near: _Nearest) -> None:
    """Sort by a few drawn steady bits, compare each picture with the next ones, again and again with other bits.

    Steady bits count double in the distance. Of a picture and its mirror image that one is sorted which has a 0 in one bit
    that mirroring flips, so that mirrored copies come to lie side by side too.
    """
    n, rng = len(hashes), np.random.default_rng(seed)
    limit = _limit_by_chance(n)
    width = min(16, max(6, round(math.log2(n / _WINDOW))))
    for band in range(_BANDS):
        pivot = _PIVOTS[band % len(_PIVOTS)]
        turn = (hashes >> np.uint64(pivot)) & np.uint64(1) == 1
        key = np.zeros(n, np.uint16)
        upright: Hashes = np.where(turn, mirrors, hashes)
        for place, bit in enumerate(rng.choice([bit for bit in _STEADY if bit != pivot], width, replace=False)):
            key |= ((upright >> np.uint64(bit)) & np.uint64(1)).astype(np.uint16) << np.uint16(place)
        order = np.argsort(key, kind="stable")
        turned: Hashes = np.where(turn, hashes, mirrors)[order]
        upright = upright[order]
        for step in range(1, _WINDOW + 1):
            distance = np.minimum(_weighed(upright[:-step] ^ upright[step:]), _weighed(upright[:-step] ^ turned[step:]))
            places = np.flatnonzero(distance <= min(limit, near.limit))
            if len(places):
                near.add(order[places], order[places + step], distance[places])


def _weighed(differing: Hashes) -> NDArray[np.uint8]:
    weighed: NDArray[np.uint8] = np.bitwise_count(differing) + np.bitwise_count(differing & _STEADY_MASK)
    return weighed


def _limit_by_chance(n: int) -> int:
    """The distance, steady bits counting double, that chance alone gives to about _BY_CHANCE pairs of n pictures."""
    mean, spread = (64 + len(_STEADY)) / 2, math.sqrt(64 + 3 * len(_STEADY)) / 2
    limit = NEAR_BITS + NEAR_BITS // 4
    while n * n * math.erfc((mean - limit - 0.5) / (spread * math.sqrt(2))) / 2 > _BY_CHANCE and limit > 0:
        limit -= 1
    return limit


def linked_groups(n: int, pairs: Pairs) -> NDArray[np.int64]:
    """Group of every picture (N,): the smallest index among those that pairs (P, 2) link it to."""
    group = np.arange(n)
    left, right = pairs.T
    while True:
        one, other = group[left], group[right]
        apart = one != other
        if not apart.any():
            return group
        np.minimum.at(group, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (group[group] != group).any():
            group = group[group]
