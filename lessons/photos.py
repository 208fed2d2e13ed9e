"""The pictures of the lessons: the real sets where TOPWORK_TEST_DATA names their folder, else what installed packages hold.

TOPWORK_LESSONS_SHORT=1 takes few pictures and few steps, to see whether everything runs; the numbers then mean nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from PIL import Image

from topwork.demo import write_digits
from topwork.errors import WeightsError
from topwork.zoo.facts import weights_here
from topwork.zoo.names import resolve

SHORT = os.environ.get("TOPWORK_LESSONS_SHORT") == "1"
REAL = Path(os.environ["TOPWORK_TEST_DATA"]).resolve() if os.environ.get("TOPWORK_TEST_DATA") else None
WORK = Path(os.environ.get("TOPWORK_LESSONS_WORK", "work"))
"""Where pictures and bundles of the lessons go."""

EACH = {"train": 12, "test": 4}
"""Pictures of a class in the short form."""
CLASSES = 6
"""Classes in the short form at most."""


def few(full: int, short: int) -> int:
    """A number of steps, pictures or seeds: `full`, or `short` in the short form."""
    return short if SHORT else full


def photos(name: str) -> Path:
    """A folder with train/CLASS and test/CLASS: the real set of that name, else scikit-learn's handwritten digits."""
    WORK.mkdir(parents=True, exist_ok=True)
    real = REAL / name if REAL is not None else None
    if real is not None and real.is_dir():
        print(f"{name}: the real photos")
        return shortened(real, WORK / name) if SHORT else real
    print(f"{name}: not here (TOPWORK_TEST_DATA names no folder with it), so scikit-learn's handwritten digits take its place")
    folder = WORK / "digits"
    if not folder.is_dir():
        write_digits(folder)
    return shortened(folder, WORK / "few-digits") if SHORT else folder


def at_hand(*networks: str) -> list[str]:
    """Those of some networks whose pretrained weights are on this machine; what gets the others is told."""
    found = []
    for name in networks:
        try:
            found += [name] if weights_here(resolve(name)) else []
        except WeightsError as error:  # a file that is not what it should be
            print(error)
    if missing := [name for name in networks if name not in found]:
        print(f"weights not on this machine: {', '.join(missing)}. While connected: topwork zoo get {missing[0]}")
    return found


def few_digits(classes: int, train: int, test: int) -> Path:
    """A folder with the first handwritten digits of scikit-learn, so many training and test pictures of each."""
    if not (WORK / "digits").is_dir():
        write_digits(WORK / "digits")
    return shortened(WORK / "digits", WORK / f"digits-to-{classes - 1}", classes, {"train": train, "test": test})


def shortened(folder: Path, place: Path, classes: int = CLASSES, each: dict[str, int] | None = None) -> Path:
    """A copy of some classes of a folder with a few pictures each, at `place`."""
    if not place.is_dir():
        for split, most in (each or EACH).items():
            for group in sorted(one for one in (folder / split).iterdir() if one.is_dir())[:classes]:
                (place / split / group.name).mkdir(parents=True)
                for file in sorted(group.iterdir())[:most]:
                    shutil.copy(file, place / split / group.name)
    return place


def first(folder: Path, label: str | None = None) -> Path:
    """The first test picture of a class, or of the first class."""
    group = folder / "test" / (label or sorted(one.name for one in (folder / "test").iterdir())[0])
    return sorted(group.iterdir())[0]


def cat() -> Path:
    """A photo of a cat that everybody has: scikit-image's Chelsea (Stefan van der Walt, CC0)."""
    from skimage.data import chelsea

    return _kept("chelsea.png", chelsea())


def flower() -> Path:
    """A photo of a flower that everybody has: scikit-learn's sample (dany13, CC BY)."""
    from sklearn.datasets import load_sample_image

    return _kept("flower.png", load_sample_image("flower.jpg"))


def _kept(name: str, pixels: object) -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / name).is_file():
        Image.fromarray(pixels).save(WORK / name)  # type: ignore[arg-type]
    return WORK / name
