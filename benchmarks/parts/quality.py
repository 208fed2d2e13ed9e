"""(quality) Accuracy and calibration of topwork's defaults on three sets; the test pictures are never used to choose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from contest import Contender, race, topwork_command
from photos import subset
from results import Part
from settings import Settings, fresh_cache


@dataclass(frozen=True)
class _Set:
    """A set of pictures and what is asked of it."""

    name: str
    accuracy: float
    """Per cent."""
    ece: float


_SETS = (_Set("cats-vs-dogs", 99.0, 0.02), _Set("pets37", 91.0, 0.05), _Set("eurosat", 94.5, 0.04))


def measure(settings: Settings) -> Part:
    """Fit on train, score on test, one run a set: the same seed gives the same classifier."""
    part = Part("quality", "(quality) Accuracy and calibration")
    contenders = []
    for one in _SETS:
        train, test = settings.data / one.name / "train", settings.data / one.name / "test"
        if settings.quick:
            train = subset(train, settings.new(one.name), per_class=10)
            test = subset(test, settings.new(one.name), per_class=4)
        bundle = settings.new(f"{one.name}.topwork")
        command = topwork_command("fit", train, "--test", test, "-o", bundle, "--json")
        contenders.append(Contender(one.name, command, prepare=partial(fresh_cache, settings)))
    done = race(contenders, rounds=1)
    part.failures |= done.failures
    for one in _SETS:
        for run in done.runs[one.name]:
            answer = run.answer
            low, high = 100 * float(answer["accuracy_low"]), 100 * float(answer["accuracy_high"])
            note = f"95 % interval {low:.1f} to {high:.1f}, n {answer['n']}"
            part.add(one.name, "accuracy", "%", [100 * float(answer["accuracy"])], note)
            part.check(f"{one.name} accuracy ({note})", [100 * float(answer["accuracy"])], one.accuracy, ">=", "%")
            if answer.get("ece") is not None:
                part.check(f"{one.name} calibration error (ECE)", [float(answer["ece"])], one.ece, "<=", "")
            part.add(one.name, "whole process, first time on a machine", "s", [run.seconds])
    return part
