"""Pixels to logits by torch eager float32: timm's network on batches of 32."""

from __future__ import annotations

import argparse
import time

import torch
from common import tell, timm_network
from forward import BATCH, pixels_of


def main() -> None:
    """Print the seconds of the passes alone. Weights are random: they do not change the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--network", required=True)
    given = parser.parse_args()
    pixels = torch.from_numpy(pixels_of(given.folder)).permute(0, 3, 1, 2).float().div(255).contiguous()
    network = timm_network(given.network, classes=None)
    with torch.inference_mode():
        network(pixels[:BATCH])
        start = time.perf_counter()
        for place in range(0, len(pixels), BATCH):
            network(pixels[place : place + BATCH])
        seconds = time.perf_counter() - start
    tell(seconds=seconds, images=len(pixels), images_per_second=len(pixels) / seconds)


if __name__ == "__main__":
    main()
