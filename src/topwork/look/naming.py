"""Which class a person means."""

from __future__ import annotations

from collections.abc import Sequence

from topwork.errors import UnknownName


def class_named(wanted: str, classes: Sequence[str]) -> int:
    """The place of the class that `wanted` names: by its name whatever its case and dashes, or the only one it is part of.

    Raises UnknownName with the nearest names.
    """
    plain = [_plain(name) for name in classes]
    asked = _plain(wanted)
    for same in (list(classes).index(wanted) if wanted in classes else None, plain.index(asked) if asked in plain else None):
        if same is not None:
            return same
    holding = [place for place, name in enumerate(plain) if asked and set(asked.split()) <= set(name.split())]
    if len(holding) == 1:
        return holding[0]
    if holding:
        raise UnknownName("class (several hold it)", wanted, _nearest_first([classes[place] for place in holding], wanted))
    raise UnknownName("class", wanted, _in_its_case(wanted, classes))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _nearest_first(names: list[str], wanted: str) -> list[str]:
    return sorted(names, key=lambda name: abs(len(name) - len(wanted)))


def _in_its_case(wanted: str, classes: Sequence[str]) -> list[str]:
    """The names, so that likeness does not hang on capitals: those equal but for them come as they are written."""
    import difflib

    lower = {_plain(name): name for name in classes}
    near = difflib.get_close_matches(_plain(wanted), list(lower), n=3, cutoff=0.5)
    return [lower[name] for name in near]
