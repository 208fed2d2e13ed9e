"""One prediction by the plain script everyone writes: timm, its transform, softmax, the best class."""

from __future__ import annotations

import sys
import time

import timm.data
import torch
from common import LITE0, tell, timm_network
from PIL import Image


def main() -> None:
    """Print the ImageNet class of the picture; the process from start to exit is what counts."""
    start = time.perf_counter()
    network = timm_network(LITE0, classes=None)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    image = transform(Image.open(sys.argv[1]).convert("RGB")).unsqueeze(0)
    with torch.inference_mode():
        probability, label = network(image).softmax(1).max(1)
    seconds = time.perf_counter() - start
    tell(seconds=seconds, images=1, images_per_second=1 / seconds, label=int(label), probability=float(probability))


if __name__ == "__main__":
    main()
