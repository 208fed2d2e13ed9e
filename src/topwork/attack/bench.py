"""What an attack on a folder is asked for, and what came of it: the curve of what is left against epsilon, each picture's
smallest change, and the controls.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from topwork.attack.controls import Control
from topwork.attack.epsilon import LEVELS
from topwork.attack.norms import Norm
from topwork.attack.single import Through
from topwork.attack.which import AttackName
from topwork.heads.metrics import wilson

EPSILONS = tuple(levels / LEVELS for levels in (0.25, 0.5, 1, 2, 4, 8))
LENGTHS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Epsilons of l2 where none are given."""

RANDOM = "random"
"""As target: another class for each picture, drawn."""


@dataclass(frozen=True)
class BenchSettings:
    """How a folder is attacked."""

    attack: AttackName = "pgd"
    norm: Norm = "linf"
    epsilons: tuple[float, ...] = ()
    """Empty: the usual ones of the norm."""
    steps: int | None = None
    restarts: int = 1
    through: Through = "input"
    target: str | None = None
    """A class, or `random`: another one for each picture."""
    smallest: bool = False
    """Look for each picture's smallest change with an attack made for that, and not only shorten what was found."""
    most: int = 200
    """Of more pictures, so many are drawn."""
    controls: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """One picture that was right to begin with."""

    path: str
    label: str
    becomes: str | None
    """What it was made to be, at its smallest epsilon; None where nothing fooled."""
    smallest: float | None
    """The smallest change found that fools, in the norm."""
    epsilon: float | None
    """The smallest epsilon of the curve at which it was fooled."""
    queries: int
    gradients: int


@dataclass
class Bench:
    """What came of a folder."""

    subject: str
    source: str
    settings: BenchSettings
    epsilons: tuple[float, ...]
    attack: str
    asked: int = 0
    """Pictures of the folder that were looked at."""
    misread: int = 0
    """Of them, wrong to begin with; they do not count."""
    showing_target: int = 0
    """Of them, right and of the target's class; they do not count."""
    rows: list[Row] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    broken: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def curve(self) -> list[dict[str, Any]]:
        """At each epsilon: how many are left of those right to begin with, and the accuracy over all."""
        points = []
        for epsilon in (0.0, *self.epsilons):
            left = sum(row.epsilon is None or row.epsilon > epsilon for row in self.rows)
            low, high = wilson(left, len(self.rows))
            points.append(
                {
                    "epsilon": epsilon,
                    "epsilon_255": round(epsilon * LEVELS, 4),
                    "left": left,
                    "n": len(self.rows),
                    "share": left / len(self.rows) if self.rows else None,
                    "low": low,
                    "high": high,
                    "accuracy": left / (len(self.rows) + self.misread) if self.rows else None,
                }
            )
        return points

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        found = [row for row in self.rows if row.smallest is not None]
        order = sorted(found, key=lambda row: row.smallest or 0.0)
        never = [row for row in self.rows if row.smallest is None]
        turned = Counter((row.label, row.becomes) for row in found)
        gradients = sum(row.gradients for row in self.rows)
        return {
            "subject": self.subject,
            "source": self.source,
            "attack": self.attack,
            "norm": self.settings.norm,
            "through": self.settings.through,
            "target": self.settings.target,
            "seed": self.settings.seed,
            "asked": self.asked,
            "misread": self.misread,
            "showing_target": self.showing_target,
            "n": len(self.rows),
            "curve": self.curve(),
            "smallest_median": float(np.median([row.smallest for row in found])) if found else None,
            "never_fooled": len(never),
            "turned_into": [{"label": one, "becomes": other, "count": count} for (one, other), count in turned.most_common()],
            "most_fragile": [asdict(row) for row in order[:8]],
            "hardest": [asdict(row) for row in [*never, *reversed(order)][:8]],
            "pictures": [asdict(row) for row in self.rows],
            "controls": [asdict(one) for one in self.controls],
            "broken": self.broken,
            "notes": self.notes,
            "gradient_calls": gradients,
            "queries": sum(row.queries for row in self.rows),
            "seconds": round(self.seconds, 3),
            "gradients_per_second": round(gradients / self.seconds, 1) if self.seconds else None,
            "interrupted": self.interrupted,
        }
