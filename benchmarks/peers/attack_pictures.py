"""Photos that lite0 reads rightly, drawn with a seed, with their labels and random targets: what every contender attacks."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from topwork import load_backbone
from topwork.grafted import grafted
from topwork.pictures.decode import decode, read_bytes, to_pixels

folder, count, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
network = grafted(load_backbone("lite0"))
draw = np.random.default_rng(0)
files = sorted(file for file in folder.rglob("*") if file.is_file())
pixels, labels = [], []
for place in draw.permutation(len(files)):
    file = files[place]
    seen = to_pixels(decode(read_bytes(file)).image, network.spec.geometry)
    label = int(file.parent.name.partition("-")[0])
    with torch.inference_mode():
        right = int(network(torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255).argmax()) == label
    if right:
        pixels.append(seen)
        labels.append(label)
    if len(labels) == count:
        break
classes = len(network.classes)
targets = (np.array(labels) + draw.integers(1, classes, len(labels))) % classes
np.savez(out, pixels=np.stack(pixels), labels=np.array(labels), targets=targets)
print(json.dumps({"pictures": len(labels)}))
