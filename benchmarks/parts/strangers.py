"""(strangers) A classifier of cats and dogs is shown what it never learned: how well does it tell?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from contest import Contender, ContenderFailed, race, topwork_command
from photos import objects
from results import Part, auroc, wilson
from settings import Settings, cache_with_engine, cats_and_dogs, get_ready, test_folder

KNOWN = "cats and dogs (test)"
TARGET = 0.95


def measure(settings: Settings) -> Part:
    """AUROC of `stranger_score` against the known test pictures, and the share answered "none of these"."""
    part = Part("strangers", "(strangers) Pictures of none of the classes")
    bundle, cache = cats_and_dogs(settings), cache_with_engine(settings)
    sets: dict[str, tuple[Callable[[], Path], float | None]] = {
        KNOWN: (lambda: test_folder(settings), None),
        "breeds (pets37: cats and dogs too)": (lambda: settings.data / "pets37" / "test", None),
        "satellite tiles (eurosat)": (lambda: settings.data / "eurosat" / "test", TARGET),
        "handwritten digits": (lambda: _digits(settings), TARGET),
        "ImageNet without cats and dogs": (
            lambda: objects(settings.data / "imagenet-one-per-class", settings.new("objects")),
            None,
        ),
    }
    contenders = []
    for name, (folder, _) in sets.items():
        try:
            command = topwork_command("predict", bundle, folder(), "--json")
        except (ContenderFailed, OSError) as error:
            part.failures[name] = str(error)
        else:
            contenders.append(Contender(name, command, {"TOPWORK_CACHE": str(cache)}))
    done = race(contenders, rounds=1)
    part.failures |= done.failures
    answers = {name: _answered(runs[0].answer) for name, runs in done.runs.items() if runs}
    known = [float(item["stranger_score"]) for item in answers.get(KNOWN, [])]
    for name, items in answers.items():
        refused = sum(bool(item["none_of_these"]) for item in items)
        low, high = wilson(refused, len(items))
        note = f"95 % interval {100 * low:.1f} to {100 * high:.1f}, n {len(items)}"
        part.add(name, "refused", "%", [100 * refused / len(items)], note)
        if name != KNOWN and known:
            area, low, high = auroc(known, [float(item["stranger_score"]) for item in items])
            note = f"AUROC, {name} (95 % interval {low:.3f} to {high:.3f}, n {len(known)} + {len(items)})"
            part.check(note, [area], sets[name][1], ">=", "")
    part.notes.append(
        "AUROC: how often a stranger's score is above that of a known test picture (0.5: no better than chance). The breeds "
        "are cats and dogs: keeping them is right, so a value near 0.5 and few refused is the good answer there."
    )
    return part


def _answered(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The predictions of pictures that could be read."""
    return [item for item in answer["predictions"] if not item.get("error") and item.get("stranger_score") is not None]


def _digits(settings: Settings) -> Path:
    """scikit-learn's handwritten digits as PNG files. Raises ContenderFailed."""
    folder = settings.new("digits")
    get_ready(Contender("digits", settings.own("write_digits.py", folder, "40" if settings.quick else "600")))
    return folder
