"""(b) A folder becomes a scored classifier, from process start to exit: topwork beside fastai's vision_learner."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from contest import Contender, ContenderFailed, Race, Run, race, topwork_command
from photos import cats_and_dogs_of_pets, count, mislabelled, read_all, with_added
from results import Part
from settings import Settings, cache_with_engine, copied_cache, fresh_cache, test_folder, train_folder, warm_up

FIRST = "topwork fit, first time on a machine"
CACHED = "topwork fit, engine cached"
CORRECTED = "topwork fit, store warm, labels corrected"
ADDED = "topwork fit, store warm, 50 photos added"
FROZEN = "fastai, one frozen epoch"
TUNED = "fastai, fine_tune(1)"


def measure(settings: Settings) -> Part:
    """Seconds and accuracy of each way."""
    part = Part("fit", "(b) Folder to scored classifier")
    train, test = train_folder(settings), test_folder(settings)
    read_all(train.parent)
    contenders = [
        Contender(FROZEN, settings.peer("fastai_fit.py", train.parent, "--recipe", "frozen")),
        Contender(TUNED, settings.peer("fastai_fit.py", train.parent, "--recipe", "fine_tune")),
    ]
    try:
        contenders = [*_own(settings, train, test), *contenders]
    except ContenderFailed as error:
        part.failures["topwork fit"] = str(error)
    done = race(contenders, settings.repeats)
    part.failures |= done.failures
    note = f"{count(train)} to fit, {count(test)} to score"
    for name in done.runs:
        part.add(name, "whole process", "s", done.values(name, _seconds), note)
        part.add(name, "accuracy", "%", done.values(name, _accuracy))
        part.add(name, "peak memory", "GB", done.values(name, lambda run: run.peak_bytes / 1e9))
    _compare(part, done)
    part.notes += [
        "Everything counts: start-up, imports, audit, cross-validation, calibration, report. Each run of topwork has a "
        "cache folder of its own: empty; with the engine file and no features; or with the features of all photos but the "
        "50 added. Labels corrected: 20 photos of each class lay in the other's folder when the store was filled.",
        "fastai: vision_learner with its defaults (Resize(224), aug_transforms, its head) on the same network with the same "
        "weights; the test folder is its validation set, read once per epoch. The first time is of this process and cache; "
        "the files were read before, and Python's compiled files exist, on both sides.",
    ]
    return part


def _own(settings: Settings, train: Path, test: Path) -> list[Contender]:
    """topwork's four ways; the last two find the features of (nearly) all photos stored. Raises ContenderFailed."""
    wrong = mislabelled(train, settings.new("mislabelled"), wrong=2 if settings.quick else 20)
    added = with_added(train, settings.new("added"), cats_and_dogs_of_pets(settings.data / "pets37" / "train", each=25))
    with_engine = copied_cache(settings, cache_with_engine(settings))
    store = Path(with_engine()["TOPWORK_CACHE"])
    warm_up(store, *_fit(settings, wrong, test))
    command = topwork_command(*_fit(settings, train, test))
    return [
        Contender(FIRST, command, prepare=partial(fresh_cache, settings)),
        Contender(CACHED, command, prepare=with_engine),
        Contender(CORRECTED, command, prepare=copied_cache(settings, store)),
        Contender(ADDED, topwork_command(*_fit(settings, added, test)), prepare=copied_cache(settings, store)),
    ]


def _fit(settings: Settings, train: Path, test: Path) -> tuple[str | Path, ...]:
    return "fit", train, "--test", test, "-o", settings.new("fit.topwork"), "--json"


def _compare(part: Part, done: Race) -> None:
    frozen = done.values(FROZEN, _seconds)
    part.ratio(f"{FROZEN} / {FIRST}", frozen, done.values(FIRST, _seconds), 10, needs_bf16=True)
    part.ratio(f"{FROZEN} / {CACHED}", frozen, done.values(CACHED, _seconds), 14, needs_bf16=True)
    part.ratio(f"{TUNED} / {CACHED}", done.values(TUNED, _seconds), done.values(CACHED, _seconds))
    for name in (CORRECTED, ADDED):
        part.check(name, done.values(name, _seconds), 4, "<=", "s")
    own, theirs = done.values(FIRST, _accuracy), done.values(FROZEN, _accuracy)
    if own and theirs:
        gain = [mine - other for mine, other in zip(own, theirs, strict=False)]
        part.check("accuracy of topwork above that of one frozen epoch", gain, 0, ">=", "points")


def _seconds(run: Run) -> float:
    return run.seconds


def _accuracy(run: Run) -> float:
    return 100 * float(run.answer["accuracy"])
