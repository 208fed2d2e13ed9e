"""fastai's fine_tune with its defaults on the same network and real weights: when was validation accuracy at its best?"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import timm
import torch
from common import LITE0, lite0_state, tell
from fastai.callback.core import Callback
from fastai.vision.all import ImageDataLoaders, Resize, accuracy, aug_transforms, set_seed, vision_learner


class Clock(Callback):
    """Notes when each epoch ended."""

    def __init__(self, start: float) -> None:
        self.start, self.ends = start, []

    def after_epoch(self) -> None:
        """Called by fastai, validation done."""
        self.ends.append(time.perf_counter() - self.start)


def main() -> None:
    """Print the seconds to the best validation accuracy (a fifth of the training folder), and that accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="holds CLASS folders")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    set_seed(0)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "lite0.pth"
        torch.save(lite0_state(list(timm.create_model(LITE0).state_dict())), weights)
        loaders = ImageDataLoaders.from_folder(
            given.folder, valid_pct=0.2, seed=0, item_tfms=Resize(224), batch_tfms=aug_transforms()
        )
        overlay = {"file": str(weights)}
        learner = vision_learner(loaders, LITE0, metrics=accuracy, path=folder, pretrained_cfg_overlay=overlay)
    clock = Clock(start)
    learner.add_cb(clock)
    rows: list[float] = []
    with learner.no_bar(), learner.no_logging():
        learner.freeze()
        learner.fit_one_cycle(1, slice(2e-3), pct_start=0.99, div=5.0)
        rows += [float(row[-1]) for row in learner.recorder.values]
        learner.unfreeze()
        learner.fit_one_cycle(given.epochs, slice(1e-3 / 100, 1e-3), pct_start=0.3, div=5.0)
        rows += [float(row[-1]) for row in learner.recorder.values]
    best = max(range(len(rows)), key=rows.__getitem__)
    images = len(loaders.train_ds) + len(loaders.valid_ds)
    tell(seconds=clock.ends[best], images=images, images_per_second=images / clock.ends[best], accuracy=rows[best])


if __name__ == "__main__":
    main()
