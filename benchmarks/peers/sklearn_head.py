"""Heads by scikit-learn: one LogisticRegression per strength on standardised features."""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from clusters import clusters
from common import tell
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Print the seconds of one fit (the mean over strengths) and the best accuracy on other pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strengths", default="1e-4,1e-3,1e-2", help="values of C")
    parser.add_argument("--pictures", type=int, default=6_000)
    given = parser.parse_args()

    features, labels, other_features, other_labels = clusters(given.pictures)
    scaler = StandardScaler().fit(features)
    train, test = scaler.transform(features), scaler.transform(other_features)
    fits: dict[str, dict[str, float]] = {}
    for text in given.strengths.split(","):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            head = LogisticRegression(C=float(text), max_iter=300).fit(train, labels)
        seconds = time.perf_counter() - start
        fits[text] = {"seconds": seconds, "accuracy": float(head.score(test, other_labels))}
    seconds = float(np.mean([fit["seconds"] for fit in fits.values()]))
    accuracy = max(fit["accuracy"] for fit in fits.values())
    tell(seconds=seconds, images=len(train), images_per_second=len(train) / seconds, accuracy=accuracy, fits=fits)


if __name__ == "__main__":
    main()
