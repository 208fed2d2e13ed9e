"""How many blocks learn: what short runs measured decides, and a deeper one must earn its price."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topwork.finetune.depth import WORTH, Depth, candidates, chosen_depth

ONE = Depth(1, "blocks.6.0", 0.10, 0.085, 0.96, 300.0, 10.0)


def deeper(blocks: int, loss: float) -> Depth:
    return replace(ONE, blocks=blocks, cut=f"blocks.{6 - blocks}.0", loss=loss, images_per_second=300 / blocks)


def test_few_depths_are_tried() -> None:
    assert candidates(16) == [1, 4, 8] and candidates(3) == [1, 2] and candidates(1) == [1]


@pytest.mark.parametrize(
    ("losses", "blocks"),
    [
        ([0.085], 1),
        ([0.085, 0.078, 0.074], 8),
        ([0.085, 0.078, 0.078 * (1 - WORTH)], 4),  # no more than asked for is not enough
        ([0.085, 0.084, 0.060], 8),
        ([0.085, 0.120, 0.084], 1),
    ],
)
def test_more_blocks_learn_only_where_that_lowers_the_loss_clearly(losses: list[float], blocks: int) -> None:
    tried = [deeper(count, loss) for count, loss in zip((1, 4, 8), losses, strict=False)]
    depth, reason = chosen_depth(tried)
    assert depth.blocks == blocks
    assert f"the last {blocks} blocks learn, from {depth.cut} on" in reason
    assert all(f"{one.blocks}: {one.loss:.3f}" in reason for one in tried)
