"""One prediction with fastai: load_learner and predict."""

from __future__ import annotations

import sys
import time

from common import tell
from fastai.vision.all import load_learner


def main() -> None:
    """Print the label of the picture; the process from start to exit is what counts."""
    start = time.perf_counter()
    learner = load_learner(sys.argv[1])
    with learner.no_bar(), learner.no_logging():
        label, place, probabilities = learner.predict(sys.argv[2])
    seconds = time.perf_counter() - start
    tell(seconds=seconds, images=1, images_per_second=1 / seconds, label=label, probability=float(probabilities[place]))


if __name__ == "__main__":
    main()
