"""The handwritten digits that come with scikit-learn, as PNG files of 8 x 8 pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from common import tell
from PIL import Image
from sklearn.datasets import load_digits


def main() -> None:
    """Write the first `count` digits into `folder`."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:count], digits.target, strict=False)):
        grey = np.rint(image * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{number:04d}-{label}.png")
    tell(images=count)


if __name__ == "__main__":
    main()
