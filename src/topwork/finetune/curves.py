"""Learning curves for TensorBoard, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topwork.errors import MissingExtra


class Board:
    """Writes one row of numbers after each epoch."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, row: dict[str, Any]) -> None:
        """Write all numbers of an epoch."""
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Make sure that it is on the disk."""
        self._writer.close()


def tensorboard_writer(folder: Path) -> Board:
    """A writer into `folder`. Raises MissingExtra without the package tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "tensorboard", "--tensorboard") from error
    return Board(SummaryWriter(str(folder)))
