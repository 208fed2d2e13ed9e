"""Folder to scored classifier with fastai's vision_learner and its defaults, on the same network and real weights.

The test folder is fastai's validation set, so that one pass over it gives the score: the shortest way fastai has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import timm
import torch
from common import LITE0, lite0_state, tell
from fastai.vision.all import ImageDataLoaders, Resize, accuracy, aug_transforms, set_seed, vision_learner


def main() -> None:
    """Print the seconds from files to score (imports not in them) and the accuracy on the test folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="holds train/CLASS and test/CLASS")
    parser.add_argument("--recipe", choices=("frozen", "fine_tune"), default="frozen")
    parser.add_argument("--export", type=Path, help="keep the learner in this file")
    given = parser.parse_args()

    start = time.perf_counter()
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        # timm reads the weights from a file as it would read a downloaded one, so every default stays fastai's own.
        weights = Path(folder) / "lite0.pth"
        torch.save(lite0_state(list(timm.create_model(LITE0).state_dict())), weights)
        loaders = ImageDataLoaders.from_folder(
            given.folder, train="train", valid="test", item_tfms=Resize(224), batch_tfms=aug_transforms()
        )
        overlay = {"file": str(weights)}
        learner = vision_learner(loaders, LITE0, metrics=accuracy, path=folder, pretrained_cfg_overlay=overlay)
    with learner.no_bar(), learner.no_logging():
        if given.recipe == "frozen":
            learner.fit_one_cycle(1)
        else:
            learner.fine_tune(1)
    scored = float(learner.recorder.values[-1][-1])  # the accuracy of the last epoch's pass over the test folder
    seconds = time.perf_counter() - start
    if given.export:
        learner.path = given.export.parent
        learner.export(given.export.name)
    images = len(loaders.train_ds) + len(loaders.valid_ds)
    tell(seconds=seconds, images=images, images_per_second=images / seconds, accuracy=scored, n=len(loaders.valid_ds))


if __name__ == "__main__":
    main()
