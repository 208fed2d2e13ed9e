"""The attacks by name, as the command line knows them."""

from __future__ import annotations

from typing import Literal

from topwork.attack.attacked import Attack
from topwork.attack.auto import APGD, Ensemble
from topwork.attack.gradient import FGSM, PGD, Iterative, Momentum
from topwork.attack.minimal import DDN, FMN, DeepFool
from topwork.attack.norms import Norm
from topwork.attack.square import Square
from topwork.errors import InputError

AttackName = Literal[
    "pgd", "fgsm", "iterative", "momentum", "apgd", "apgd-targeted", "square", "deepfool", "ddn", "fmn", "ensemble"
]

ONE_NORM: dict[str, Norm] = {"square": "linf", "ddn": "l2"}
"""Attacks that know one norm only."""


def attack_of(
    name: AttackName,
    norm: Norm = "linf",
    steps: int | None = None,
    restarts: int = 1,
    seed: int = 0,
    stop: bool = True,
    random_start: bool = True,
    lead: float = 0.0,
) -> Attack:
    """The attack of a name, with its own settings where none are given. Raises InputError for a norm that it does not know.

    steps: of a search without gradients, its queries.
    """
    if ONE_NORM.get(name, norm) != norm:
        raise InputError(f"--attack {name}: measures changes in {ONE_NORM[name]}, not {norm}. Give --norm {ONE_NORM[name]}.")
    few, many = steps or 10, steps or 100
    attacks: dict[str, Attack] = {
        "pgd": PGD(norm, steps or 40, 2.5 / (steps or 40), restarts, random_start or restarts > 1, stop, lead, seed),
        "fgsm": FGSM(norm),
        "iterative": Iterative(norm, few, 2 / few, stop),
        "momentum": Momentum(norm, few, 1 / few, stop=stop),
        "apgd": APGD(norm, "ce", many, restarts, seed=seed),
        "apgd-targeted": APGD(norm, "dlr-targeted", many, restarts, seed=seed),
        "square": Square(steps or 1000, seed=seed),
        "deepfool": DeepFool(norm, steps or 50),
        "ddn": DDN(many),
        "fmn": FMN(norm, many),
        "ensemble": Ensemble(norm, many, seed=seed),
    }
    return attacks[name]
