"""One epoch of plain torch: the same blocks learn, and the frozen rest runs anew for every batch; decoding left out."""

from __future__ import annotations

import argparse
import time

import timm
import torch
from common import LITE0, lite0_state, tell
from torch import nn
from torch.nn import functional


def main() -> None:
    """Print the seconds that an epoch over `images` pictures takes, from as many batches as `seconds` allow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, required=True, help="blocks that learn, counted from the head")
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=40.0)
    given = parser.parse_args()
    network = timm.create_model(LITE0)
    network.load_state_dict(dict(zip(network.state_dict(), lite0_state(list(network.state_dict())).values(), strict=True)))
    network = network.eval().to(memory_format=torch.channels_last)
    blocks = [block for stage in network.blocks for block in stage]
    network.requires_grad_(False)
    learning = nn.ModuleList([*blocks[-given.blocks :], network.conv_head, network.bn2])
    learning.requires_grad_(True)
    head = nn.Linear(1280, given.classes)
    optimiser = torch.optim.AdamW([*learning.parameters(), *head.parameters()], 1e-4)
    batch = 32
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, 224, 224, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, given.classes, (batch,), generator=generator)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            inside = network.bn1(network.conv_stem(images))
            for block in blocks[: -given.blocks]:
                inside = block(inside)
        for module in learning:
            inside = module(inside)
        functional.cross_entropy(head(inside.mean((2, 3))), labels).backward()
        optimiser.step()

    step()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < given.seconds or done < 3:
        step()
        done += 1
    rate = done * batch / (time.perf_counter() - start)
    tell(seconds=given.images / rate, images=given.images, images_per_second=rate)


if __name__ == "__main__":
    main()
