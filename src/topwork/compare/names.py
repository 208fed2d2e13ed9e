"""What the classes that a network was trained on are called."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from topwork.zoo.spec import BackboneSpec


def original_names(spec: BackboneSpec) -> list[str]:
    """A name for each of the network's own classes; "class 17" where nobody knows."""
    known = _imagenet() if spec.answers == 1000 else []
    return known if len(known) == spec.answers else [f"class {place}" for place in range(spec.answers)]


@cache
def _imagenet() -> list[str]:
    """The first name of each of the 1,000 ImageNet classes, from the lists that come with timm; nothing is imported."""
    package = find_spec("timm")
    if package is None or not package.submodule_search_locations:
        return []
    folder = Path(package.submodule_search_locations[0]) / "data" / "_info"
    try:
        order = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
        lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    lemmas = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return [lemmas.get(synset, synset).split(",")[0].strip() for synset in order]
