"""(head) Choosing a head for 6,000 x 1,280 features of 101 classes: topwork's whole search beside one fit of scikit-learn."""

from __future__ import annotations

from contest import Contender, Run, race
from results import Part
from settings import Settings

OWN = "topwork head search"
SINGLE = "scikit-learn, one fit"


def measure(settings: Settings) -> Part:
    """Seconds of the search itself; imports and drawing the features are left out."""
    part = Part("head", "(head) Head search, 6,000 x 1,280 features, 101 classes")
    few = ("--pictures", "1200") if settings.quick else ()
    done = race(
        [
            Contender(OWN, settings.own("topwork_head.py", *few)),
            Contender(SINGLE, settings.peer("sklearn_head.py", *few)),
        ],
        settings.repeats,
    )
    part.failures |= done.failures
    for name in (OWN, SINGLE):
        part.add(name, "time", "s", done.values(name, _seconds))
        part.add(name, "accuracy on 1,200 others", "%", done.values(name, _accuracy))
    part.check(OWN, done.values(OWN, _seconds), 5, "<=", "s")
    part.ratio("one fit of scikit-learn / the whole search", done.values(SINGLE, _seconds), done.values(OWN, _seconds))
    for run in done.runs[SINGLE][-1:]:
        fits = ", ".join(f"C {name}: {fit['seconds']:.1f} s" for name, fit in run.answer["fits"].items())
        part.notes.append(f"scikit-learn's LogisticRegression (lbfgs, 300 iterations at most), the last round: {fits}.")
    for run in done.runs[OWN][-1:]:
        part.notes.append(f"topwork chose: {run.answer['chosen']}.")
    part.notes.append(
        "scikit-learn's time is the mean of one fit over three strengths; a search by it takes that times strengths times "
        "folds (65 fits for 13 strengths and 5 folds). The features are drawn, the same on both sides."
    )
    return part


def _seconds(run: Run) -> float:
    return float(run.answer["seconds"])


def _accuracy(run: Run) -> float:
    return 100 * float(run.answer["accuracy"])
