"""How many blocks learn: what short runs measured decides, and a deeper one is taken unless it is worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topwork.finetune.depth import WORSE, Depth, candidates, chosen_depth

ONE = Depth(
    1, "blocks.6.0", start_loss=0.10, loss=0.085, rise=0.0, rise_error=0.0, accuracy=0.96, images_per_second=300.0, seconds=10.0
)


def deeper(blocks: int, rise: float) -> Depth:
    """A depth whose loss rises by some standard errors of .01 against the best before."""
    speed = 300 / blocks
    return replace(
        ONE, blocks=blocks, cut=f"blocks.{6 - blocks}.0", loss=0.1, rise=rise / 100, rise_error=0.01, images_per_second=speed
    )


def test_few_depths_are_tried() -> None:
    assert candidates(16) == [1, 4, 8] and candidates(3) == [1, 2] and candidates(1) == [1]


@pytest.mark.parametrize(
    ("rises", "blocks"),
    [
        ([], 1),
        ([-0.5, -0.5], 8),
        ([-3, WORSE], 8),  # not worse by more than a standard error
        ([-3, 1.01 * WORSE], 4),
        ([1.5], 1),
        ([0.5, 0.9], 8),
    ],
)
def test_more_blocks_learn_unless_they_are_clearly_worse(rises: list[float], blocks: int) -> None:
    tried = [ONE, *(deeper(count, rise) for count, rise in zip((4, 8), rises, strict=False))]
    depth, reason = chosen_depth(tried)
    assert depth.blocks == blocks
    assert f"the last {blocks} blocks learn, from {depth.cut} on" in reason
    assert all(f"{one.blocks}: {one.loss:.3f}" in reason for one in tried)
