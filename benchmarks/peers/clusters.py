"""Drawn features as large and about as hard as those of a set like Caltech-101.

Copied from real features of a pretrained network: how the variance within classes and between them falls off from direction
to direction, columns half zero and of unequal size, classes of unequal size, and pictures that look partly like another class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

D, K = 1_280, 101

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]


def clusters(n: int, held: int = 1_200, seed: int = 0) -> tuple[Float32, Labels, Float32, Labels]:
    """features (n, D) and labels (n,) to fit, then others (held, D), (held,) to score; each class at least 6 times."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(K, n - 6 * K + held, p=draw.dirichlet(np.full(K, 2.0)))
    labels = np.concatenate([draw.permutation(np.repeat(np.arange(K), 6)), labels])
    place = np.arange(1, D + 1)
    variance = 28 * place**-0.5 * np.exp(-place / 350)
    centres = draw.standard_normal((K, D)) * np.sqrt(3 * variance * np.exp(-place / 30))
    other = draw.integers(0, K, n + held)
    likeness = draw.beta(0.5, 3.0, n + held)[:, None]
    hidden = (1 - likeness) * centres[labels] + likeness * centres[other]
    hidden += draw.standard_normal((n + held, D)) * np.sqrt(variance)
    turn = np.linalg.qr(draw.standard_normal((D, D)))[0]
    features = (np.maximum(hidden @ turn, 0) ** 1.3 * draw.gamma(2.0, 0.5, D)).astype(np.float32)
    return features[:n], labels[:n], features[n:], labels[n:]
