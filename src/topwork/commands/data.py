"""data list, data get."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from topwork.commands.common import Json, Offline, Out, Quiet, Switch, number, progress_bar, say, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from topwork.datasets.getting import Got


def data_list(*, json_: Json = False) -> int:
    """List the data sets that can be fetched."""
    from dataclasses import asdict

    from topwork.datasets.catalogue import CATALOGUE
    from topwork.runtime import in_words

    lines = []
    for one in CATALOGUE.values():
        lines += [
            f"{one.name}: {one.title}, {one.about}",
            f"  {one.pictures:,} pictures, {one.classes} classes, {in_words(one.size)} to fetch",
            f"  licence: {one.licence}",
            f"  {one.homepage}",
        ]
    say({"data_sets": [{**asdict(one), "bytes": one.size} for one in CATALOGUE.values()]}, lines, json_)
    return 0


def data_get(
    name: str,
    /,
    *,
    out: Out,
    from_: Annotated[list[str] | None, Parameter(name="--from", negative="")] = None,
    binary: Switch = False,
    keep: Switch = False,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Fetch a data set and lay it out as class folders that `topwork fit` takes as they are.

    Downloads go on where they were cut, and are checked against the published SHA-256. Files that cannot be decoded are listed
    in broken.csv and kept out of the classes. A folder that holds anything else is never touched.

    Parameters
    ----------
    name
        cats-vs-dogs, or pets.
    out
        A new or empty folder. Where the data set is there already, nothing is done.
    from_
        An archive that you have, or the address of one; twice for pets (images and annotations). What is missing is fetched.
    binary
        Cats and dogs in the place of breeds.
    keep
        Leave the fetched archives in the cache folder.
    """
    from topwork.datasets.getting import get

    def bar(what: str, unit: str) -> contextlib.AbstractContextManager[Callable[[int, int], None] | None]:
        return progress_bar(what, quiet, unit)

    got = get(name, out, from_ or (), binary, keep=keep, offline=offline, bar=bar)
    say({"out": str(out), "fresh": got.fresh, **got.facts, "warnings": got.notes}, _lines(out, got), json_)
    warn(*got.notes)
    return 0


def _lines(out: Path, got: Got) -> list[str]:
    from topwork.datasets.getting import BROKEN

    facts = got.facts
    splits = ", ".join(f"{count:,} in {split}/" for split, count in facts["splits"].items())
    names = [one["name"] for one in facts["classes"]]
    counted = f"{number(facts['pictures'], 'picture')}{f' ({splits})' if splits else ''}"
    lines = [
        f"{out}: {facts['name']}{'' if got.fresh else ' is there already'}, {counted}",
        f"  classes   {len(names)}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}",
    ]
    if facts["broken"]:
        lines.append(f"  broken    {len(facts['broken'])}, listed in {out / 'broken.csv'}, kept in {out / BROKEN}")
    lines += [f"  licence   {facts['licence']}", f"  next      topwork fit {out} -o {facts['name']}.topwork"]
    return lines
