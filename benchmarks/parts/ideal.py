"""(ideal) Ideal pictures: do other networks recognise them, are their colours those of photos, how long do they take."""

from __future__ import annotations

import json
from functools import partial

from contest import Contender, Run, race, topwork_command
from results import Part, wilson
from settings import Settings, cache_with_engine

JUDGES = ("lite1", "lite2")
DEFAULT, LESSON = "fourier", "lesson"
NETWORKS = ("lite0", "timm:mobilenetv3_large_100", "timm:resnet50", "timm:vgg16")
EAGER, FROZEN = "eager torch", "frozen gradient"


def measure(settings: Settings) -> Part:
    """Agreement of judges on classes drawn with a seed, and seconds a picture beside eager torch with the same recipe."""
    part = Part("ideal", "(ideal) Ideal pictures of classes")
    _agreement(settings, part, 2 if settings.quick else 100)
    _speed(settings, part)
    return part


def _agreement(settings: Settings, part: Part, count: int) -> None:
    cache = {"TOPWORK_CACHE": str(cache_with_engine(settings))}
    names = json.loads(_answer(settings, "ideal_classes.py", str(count)))
    contenders = []
    for recipe in (DEFAULT, LESSON):
        words = ["-b", "lite0", *names, "-o", settings.new(f"ideal-{recipe}"), "--recipe", recipe]
        words += ["--judges", ",".join(JUDGES), "--json", *(["--steps", "4"] if settings.quick else [])]
        contenders.append(Contender(recipe, topwork_command("ideal", *words), cache))
    done = race(contenders, rounds=1)
    part.failures |= done.failures
    for recipe in (DEFAULT, LESSON):
        for run in done.runs[recipe]:
            _tell(part, recipe, run, count)


def _tell(part: Part, recipe: str, run: Run, count: int) -> None:
    answer = run.answer
    wanted = recipe == DEFAULT
    for judge in JUDGES:
        found = answer["judges"][judge]
        low, high = wilson(round(found["agree"] * count), count)
        note = f"95 % interval {100 * low:.0f} to {100 * high:.0f}, n {count}"
        part.check(f"{recipe}: {judge} agrees ({note})", [100 * found["agree"]], 95 if wanted else None, ">=", "%")
        part.check(f"{recipe}: mean probability by {judge}", [found["mean_probability"]], 0.8 if wanted else None, ">=", "")
    for what in ("saturation", "contrast"):
        low, high = answer[f"photos_{what}"]
        name = f"{recipe}: mean {what} (photos, 5th to 95th percentile: {low:.2f} to {high:.2f})"
        part.check(name, [answer[f"mean_{what}"]], high if wanted else None, "<=", "")
    part.add(recipe, "seconds a picture, judges left out", "s", [answer["seconds"] / count])


def _speed(settings: Settings, part: Part) -> None:
    """The same few steps of the default recipe on ten pictures, by each way in the same process."""
    for name in NETWORKS:
        command = settings.own("ideal_speed.py", name, "2" if settings.quick else "6")
        done = race([Contender(name, command)], rounds=settings.repeats)
        part.failures |= done.failures
        eager, frozen = (done.values(name, partial(_seconds, way)) for way in (EAGER, FROZEN))
        part.add(f"{name}, {EAGER}", "one step of ten pictures", "s", eager)
        part.add(f"{name}, {FROZEN}", "one step of ten pictures", "s", frozen)
        part.add(
            f"{name}, folded in torch", "one step of ten pictures", "s", done.values(name, partial(_seconds, "folded torch"))
        )
        part.ratio(f"{name}: {EAGER} / {FROZEN}", eager, frozen, 3)


def _seconds(way: str, run: Run) -> float:
    return float(run.answer[way])


def _answer(settings: Settings, script: str, *words: str) -> str:
    import subprocess

    return subprocess.run(settings.own(script, *words), check=True, capture_output=True, text=True).stdout
