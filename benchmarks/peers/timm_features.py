"""Folder to features by timm's usual recipe: its own transform, torch's DataLoader, eager float32."""

from __future__ import annotations

import argparse
import time

import numpy as np
import timm.data
import torch
from common import tell, timm_network
from torch.utils.data import DataLoader


def main() -> None:
    """Print the seconds from files to features; imports and making the network are not in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", help="keep the features as .npy")
    given = parser.parse_args()

    network = timm_network(given.network)
    start = time.perf_counter()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    dataset = timm.data.ImageDataset(given.folder, transform=transform)
    loader = DataLoader(dataset, batch_size=given.batch_size, num_workers=given.workers)
    with torch.inference_mode():
        features = torch.cat([network(images) for images, _ in loader]).numpy()
    seconds = time.perf_counter() - start
    if given.out:
        np.save(given.out, features)
    tell(seconds=seconds, images=len(features), images_per_second=len(features) / seconds, dim=features.shape[1])


if __name__ == "__main__":
    main()
