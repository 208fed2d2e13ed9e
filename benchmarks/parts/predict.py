"""(c) One prediction from a cold start, and `topwork --help`: the process from start to exit is what counts."""

from __future__ import annotations

from contest import Contender, ContenderFailed, Run, race, topwork_command
from photos import class_pictures, subset
from results import Part
from settings import Settings, cache_with_engine, cats_and_dogs, get_ready, test_folder, train_folder

OWN = "topwork predict"
HELP = "topwork --help"
SCRIPT = "timm script"
FASTAI = "fastai load_learner, predict"


def measure(settings: Settings) -> Part:
    """Seconds of each way."""
    part = Part("predict", "(c) One prediction from a cold start")
    picture = next(iter(class_pictures(test_folder(settings)).values()))[0]
    contenders = [Contender(HELP, topwork_command("--help"), answers=False)]
    try:
        bundle, cache = cats_and_dogs(settings), cache_with_engine(settings)
    except ContenderFailed as error:
        part.failures[OWN] = str(error)
    else:
        command = topwork_command("predict", bundle, picture, "--json")
        contenders.append(Contender(OWN, command, {"TOPWORK_CACHE": str(cache)}))
    contenders.append(Contender(SCRIPT, settings.peer("timm_predict.py", picture)))
    try:
        learner = _fastai_learner(settings)
    except ContenderFailed as error:
        part.failures[FASTAI] = str(error)
    else:
        contenders.append(Contender(FASTAI, settings.peer("fastai_predict.py", learner, picture)))
    done = race(contenders, rounds=2 * settings.repeats + 1)
    part.failures |= done.failures
    for name in (contender.name for contender in contenders):
        part.add(name, "whole process", "s", done.values(name, _seconds))
    own = done.values(OWN, _seconds)
    part.check(OWN, own, 0.6, "<=", "s")
    part.ratio(f"{SCRIPT} / {OWN}", done.values(SCRIPT, _seconds), own, 5)
    part.ratio(f"{FASTAI} / {OWN}", done.values(FASTAI, _seconds), own)
    part.check(HELP, done.values(HELP, _seconds), 0.2, "<=", "s")
    part.notes.append(
        "topwork and fastai load a classifier of cats and dogs that was fitted before; the timm script names one of ImageNet's "
        "classes with the same network and weights. The files are in the system's memory already, for all of them."
    )
    return part


def _fastai_learner(settings: Settings) -> str:
    """A learner as fastai exports it; fitted on few pictures, since only the time of its loading counts."""
    folder = settings.new("few")
    subset(train_folder(settings), folder / "train", per_class=40)
    subset(test_folder(settings), folder / "test", per_class=4)
    file = settings.new("learner.pkl")
    get_ready(Contender("fastai learner", settings.peer("fastai_fit.py", folder, "--export", file)))
    return str(file)


def _seconds(run: Run) -> float:
    return run.seconds
