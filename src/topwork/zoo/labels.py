"""The names of the classes that networks were trained on, from the lists that timm's package holds; torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from topwork.errors import InputError

LABEL_SETS = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-12k": "imagenet12k_synsets.txt",
    "imagenet-22k": "imagenet22k_synsets.txt",
    "imagenet-22k-ms": "imagenet22k_ms_synsets.txt",
    "imagenet-21k-goog": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-miil": "imagenet21k_miil_synsets.txt",
}
"""Lists of WordNet synsets, in the order of a network's answers."""


@dataclass(frozen=True)
class Label:
    """One class of a network."""

    index: int
    """Its place among the network's answers."""
    name: str
    """In words: Eskimo dog, husky."""
    synset: str
    """In WordNet: n02109961."""


@cache
def labels(label_set: str) -> tuple[Label, ...]:
    """Every class of a set of labels, in order; none for a set that is not known."""
    if label_set not in LABEL_SETS:
        return ()
    folder = _folder()
    names = dict(line.split("\t", 1) for line in _lines(folder / "imagenet_synset_to_lemma.txt") if "\t" in line)
    synsets = _lines(folder / LABEL_SETS[label_set])
    return tuple(Label(place, names.get(synset, synset), synset) for place, synset in enumerate(synsets))


def class_names(label_set: str, count: int) -> tuple[str, ...]:
    """The names of a network's `count` classes; "class 17" where their names are not known."""
    found = labels(label_set)
    return tuple(found[place].name if place < len(found) else f"class {place}" for place in range(count))


def find_labels(word: str, label_set: str = "imagenet-1k") -> list[Label]:
    """The classes whose name has the word, those with the whole word first."""
    wanted = word.lower().strip()
    found = [label for label in labels(label_set) if wanted in label.name.lower() or wanted == label.synset]
    return sorted(found, key=lambda label: wanted not in _words(label.name))


def _words(name: str) -> list[str]:
    parts = [part.strip() for part in name.lower().split(",")]
    return [*parts, *(word for part in parts for word in part.split())]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"{file}: expected the class names that timm comes with: {error.strerror}. Install timm again."
        ) from error


def _folder() -> Path:
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        raise InputError("the class names come with timm, which is not installed: pip install timm")
    return Path(found.submodule_search_locations[0]) / "data" / "_info"
