"""What every part is given: where the pictures, the work folder and the two interpreters are, and how much to do."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contest import Contender, ContenderFailed, Run, run_once, say, topwork_command

PEERS = Path(__file__).parent / "peers"

_numbers = itertools.count()


@dataclass(frozen=True)
class Settings:
    """How a benchmark is run."""

    data: Path
    """Holds cats-vs-dogs, pets37, eurosat (each with train/CLASS and test/CLASS) and imagenet-one-per-class."""
    work: Path
    """A temporary folder for everything that is written."""
    peers_python: Path
    """The interpreter that has the peers."""
    repeats: int
    quick: bool
    """Few pictures, to see that everything runs; the numbers mean nothing."""

    def peer(self, script: str, *arguments: str | Path) -> list[str]:
        """The command of a peer's script."""
        return [str(self.peers_python), str(PEERS / script), *map(str, arguments)]

    def own(self, script: str, *arguments: str | Path) -> list[str]:
        """The command of a script that uses topwork as a library, in the environment of this interpreter."""
        return [sys.executable, str(PEERS / script), *map(str, arguments)]

    def new(self, name: str) -> Path:
        """A path in the work folder that nobody has used yet."""
        return self.work / f"{next(_numbers)}-{name}"


def fresh_cache(settings: Settings) -> dict[str, str]:
    """The environment of a machine on which topwork never ran."""
    return {"TOPWORK_CACHE": str(settings.new("cache"))}


def copied_cache(settings: Settings, warm: Path) -> Callable[[], dict[str, str]]:
    """Gives, for each run, the environment of a machine on which topwork ran before: its own copy of the folder `warm`."""

    def prepare() -> dict[str, str]:
        copy = settings.new("cache")
        shutil.copytree(warm, copy)
        return {"TOPWORK_CACHE": str(copy)}

    return prepare


def cache_with_engine(settings: Settings) -> Path:
    """A cache folder that holds lite0's engine, made and chosen, and features of no picture that the benchmark times.

    Raises ContenderFailed.
    """
    cache = settings.work / "cache-with-engine"
    if not cache.exists():
        from photos import subset

        other = subset(settings.data / "eurosat" / "train", settings.new("tiles"), per_class=6)
        warm_up(cache, "fit", other, "-o", settings.new("tiles.topwork"), "--json")
    return cache


def cats_and_dogs(settings: Settings) -> Path:
    """The bundle of a classifier of cats and dogs, fitted once. Raises ContenderFailed."""
    bundle = settings.work / "cats-and-dogs.topwork"
    if not bundle.exists():
        warm_up(cache_with_engine(settings), "fit", train_folder(settings), "-o", bundle, "--json")
    return bundle


def train_folder(settings: Settings) -> Path:
    """Cats and dogs to fit: all of them, or few when quick."""
    return _cats_vs_dogs(settings, "train", 40)


def test_folder(settings: Settings) -> Path:
    """Cats and dogs to score."""
    return _cats_vs_dogs(settings, "test", 20)


def _cats_vs_dogs(settings: Settings, split: str, quick_per_class: int) -> Path:
    whole = settings.data / "cats-vs-dogs" / split
    if not settings.quick:
        return whole
    from photos import subset

    few = settings.work / "quick" / split
    return few if few.exists() else subset(whole, few, quick_per_class)


def warm_up(cache: Path, *arguments: str | Path) -> Run:
    """Run topwork once with `cache`, outside any race. Raises ContenderFailed."""
    name = f"topwork {arguments[0]}"
    return get_ready(Contender(name, topwork_command(*arguments), {"TOPWORK_CACHE": str(cache)}))


def get_ready(contender: Contender) -> Run:
    """One run of something that a race needs first. Raises ContenderFailed, and tells it at once."""
    say(f"  getting ready: {contender.name} ...", end="")
    try:
        run = run_once(contender)
    except ContenderFailed as error:
        say(f" FAILED\n{error}")
        raise
    say(f" {run.seconds:.2f} s")
    return run
