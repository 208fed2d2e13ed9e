"""(look) `look` and `explain` on one picture from a cold start: the process from start to figure is what counts."""

from __future__ import annotations

from pathlib import Path

from contest import Contender, ContenderFailed, Run, race, topwork_command
from photos import class_pictures
from results import Part
from settings import Settings, cache_with_engine, cats_and_dogs, copied_cache, get_ready, test_folder

NETWORKS = {
    "lite0": "pretrained",
    "vgg16": "random",
    "resnet50": "random",
    "timm:mobilenetv3_large_100": "random",
    "timm:vit_small_patch16_224": "random",
    "keras:VGG16": "random",
}
TARGETS = {"look": 3.0, "explain": 5.0}
SCRIPT = "timm and captum script, lite0"


def measure(settings: Settings) -> Part:
    """Seconds of each command on each network, and on a bundle."""
    part = Part("look", "(look) One picture looked at and explained from a cold start")
    picture = next(iter(class_pictures(test_folder(settings)).values()))[0]
    fresh = copied_cache(settings, cache_with_engine(settings))
    looked = fresh()
    sources: dict[str, list[str | Path]] = {
        name: ["-b", name, "--weights", weights] for name, weights in NETWORKS.items() if not settings.quick or name == "lite0"
    }
    try:
        sources["a bundle"] = [cats_and_dogs(settings)]
    except ContenderFailed as error:
        part.failures["a bundle"] = str(error)
    contenders = [Contender(SCRIPT, settings.own("captum_explain.py", picture, settings.new("why.png")))]
    for name, source in sources.items():
        for command in TARGETS:
            words = topwork_command(command, *source, picture, "-o", settings.new(f"{command}.png"), "--json")
            contender = Contender(f"{command} {name}", words, looked)
            first = Contender(f"{contender.name}, first time", words, prepare=fresh)
            try:
                part.add(first.name, "whole process", "s", [get_ready(first).seconds])
                get_ready(contender)
            except ContenderFailed as error:
                part.failures[contender.name] = str(error)
            else:
                contenders.append(contender)
    done = race(contenders, settings.repeats)
    part.failures |= done.failures
    for contender in contenders:
        part.add(contender.name, "whole process", "s", done.values(contender.name, _seconds))
    for contender in contenders[1:]:
        target = TARGETS[contender.name.partition(" ")[0]]
        part.check(contender.name, done.values(contender.name, _seconds), target, "<=", "s")
    part.ratio(f"{SCRIPT} / explain lite0", done.values(SCRIPT, _seconds), done.values("explain lite0", _seconds))
    part.notes.append(
        "The first time that a network is looked at or explained on a machine, torch writes down its graph; from then on torch "
        "is not imported. The script is the plain one: timm's network, captum's Grad-CAM at the last convolution, a figure."
    )
    return part


def _seconds(run: Run) -> float:
    return run.seconds
