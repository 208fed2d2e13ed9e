"""Head search by topwork: views, strengths, folds and calibration, the whole of what a fit does after the features."""

from __future__ import annotations

import argparse
import time

import numpy as np
from clusters import K, clusters
from common import tell

from topwork.features.table import FeatureTable
from topwork.heads.search import search


def main() -> None:
    """Print the seconds of the search and the accuracy of its head on other pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=6_000)
    given = parser.parse_args()

    features, labels, other_features, other_labels = clusters(given.pictures)
    table = FeatureTable.of(features)
    names = [f"class {number}" for number in range(K)]
    start = time.perf_counter()
    found = search(table, labels, np.arange(len(labels)), names, {"last": slice(None)})
    seconds = time.perf_counter() - start
    right = float((found.head.logits(other_features).argmax(1) == other_labels).mean())
    chosen = f"{found.head.kind}, {found.reasons.get('strength', '')}; {len(found.trials)} trials"
    tell(seconds=seconds, images=len(labels), images_per_second=len(labels) / seconds, accuracy=right, chosen=chosen)


if __name__ == "__main__":
    main()
