"""What networks there are, without loading any: asked of each source once, then kept until its library changes."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from topwork.errors import StorageError, TopworkError
from topwork.runtime import cache_folder, make_folder, publish_file, versions
from topwork.zoo.names import source, sources

FORMAT = 1


@dataclass(frozen=True)
class Network:
    """One entry of the catalogue: a network with one set of pretrained weights."""

    id: str
    """As a backbone is named: timm:resnet50.a1_in1k."""
    family: str
    size: int
    """Side of the pictures it sees, in pixels."""
    licence: str
    classes: int
    """Classes it was trained on; 0 where it has no classifier of its own."""

    @property
    def source(self) -> str:
        """timm, keras, ..."""
        return self.id.partition(":")[0]

    @property
    def architecture(self) -> str:
        """Its name without source and tag."""
        return self.id.partition(":")[2].partition(".")[0]


def every_network(family: str = "") -> list[Network]:
    """The networks of every source whose library is installed; with `family`, those of that family or name."""
    found: list[Network] = []
    for prefix in sources():
        with contextlib.suppress(TopworkError):  # a source whose library is not installed has no networks here
            found += _networks(prefix)
    wanted = family.lower()
    return [one for one in found if wanted in one.family.lower() or one.architecture.lower().startswith(wanted)]


def family_of(full: str) -> str:
    """The family of a network by its full name; empty where the catalogue does not know it."""
    wanted = full.partition(".")[0]
    return next((one.family for one in every_network() if one.id.partition(".")[0] == wanted), "")


def _networks(prefix: str) -> list[Network]:
    file = cache_folder() / "zoo" / f"{prefix}.json"
    known = {"format": FORMAT, **library_versions(prefix)}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["known"] == known:
            return [Network(**row) for row in kept["networks"]]
    found = source(prefix).networks()
    with contextlib.suppress(StorageError):  # without a cache folder it is asked again the next time
        make_folder(file.parent)
        publish_file(file, json.dumps({"known": known, "networks": [asdict(one) for one in found]}).encode())
    return found


def library_versions(prefix: str) -> dict[str, str]:
    """Versions of what decides what a source gives: its library, and its own package where it is another's."""
    point = sources()[prefix]
    own = point.dist.name if point.dist is not None else "topwork"
    return versions(prefix, "topwork", own)
