"""(ideal) Ideal pictures: do other networks recognise them, are their colours those of photos, how long do they take."""

from __future__ import annotations

import json
from functools import partial

from contest import Contender, ContenderFailed, Run, race, topwork_command
from results import Part, wilson
from settings import Settings, cache_with_engine, get_ready, warm_up

JUDGES = ("lite1", "lite2")
DEFAULT, LESSON = "fourier", "lesson"
NETWORKS = ("lite0", "timm:mobilenetv3_large_100", "timm:resnet50", "timm:vgg16")
EAGER, FROZEN = "eager torch", "frozen gradient"


def measure(settings: Settings) -> Part:
    """Agreement of judges on classes drawn with a seed, and seconds a picture beside eager torch with the same recipe."""
    part = Part("ideal", "(ideal) Ideal pictures of classes")
    _agreement(settings, part, 2 if settings.quick else 100)
    for name in ("cats-vs-dogs",) if settings.quick else ("cats-vs-dogs", "pets37"):
        try:
            _own_classes(settings, part, name)
        except ContenderFailed as error:
            part.failures[f"own classes, {name}"] = str(error)
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


def _own_classes(settings: Settings, part: Part, name: str) -> None:
    """Pictures of a bundle's own classes, judged by a bundle on another network, fitted on the same photos."""
    cache, train = cache_with_engine(settings), settings.data / name / "train"
    bundle, judge = settings.new(f"{name}.topwork"), settings.new(f"{name}-judge.topwork")
    warm_up(cache, "fit", train, "-o", bundle, "--json")
    warm_up(cache, "fit", train, "-b", JUDGES[0], "-o", judge, "--json")
    classes = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
    words = ["ideal", bundle, *classes, "-o", settings.new(f"ideal-{name}"), "--judges", judge, "--json"]
    words += ["--steps", "4"] if settings.quick else []
    answer = get_ready(Contender(f"ideal, {name}", topwork_command(*words), {"TOPWORK_CACHE": str(cache)})).answer
    (found,) = answer["judges"].values()
    title = f"{name}: a bundle on {JUDGES[0]} agrees (n {len(classes)})"
    part.check(title, [100 * found["agree"]], 90, ">=", "%")
    part.add(f"ideal, {name}", "seconds a picture, judges left out", "s", [answer["seconds"] / len(classes)])


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
