"""Who is fooled, said by plain float32 torch of everybody's pictures in the same way; and how far they are from the photos."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from attack_common import BATCH, pictures
from common import LITE0, tell, timm_network

ROUNDING = 1e-6

network = timm_network(LITE0, classes=None)
photos, every_label, every_target = pictures(Path(sys.argv[1]), None)
told = {}
for word in sys.argv[2:]:  # NAME=FILE=EPSILON; epsilon 0 where the smallest change is sought
    name, file, epsilon = word.split("=")
    found = torch.from_numpy(np.load(file))
    images, labels, targets = photos[: len(found)], every_label[: len(found)], every_target[: len(found)]
    with torch.inference_mode():
        answers = torch.cat([network((part - 0.5) / 0.5).argmax(1) for part in found.split(BATCH)])
    fooled = answers == targets if "targeted" in name else answers != labels
    change = (found - images).flatten(1)
    allowed = (found.min() >= 0) & (found.max() <= 1)
    if float(epsilon):
        fooled &= allowed & (change.abs().amax(1) <= float(epsilon) + ROUNDING)
    lengths = torch.where(fooled & allowed, change.norm(dim=1), torch.inf)
    told[name] = {"fooled": int(fooled.sum()), "n": len(found), "median": float(lengths.quantile(0.5, interpolation="lower"))}
tell(**told)
