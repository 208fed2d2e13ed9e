"""(h) Fine-tuning: an epoch beside plain torch, the time to the best beside fastai, and what it brings on three sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from contest import Contender, ContenderFailed, Run, race, run_once, topwork_command
from photos import count, read_all
from results import Part
from settings import Settings, copied_cache, warm_up

BLOCKS = 5
EPOCHS = 8
SETS = ("eurosat", "pets37", "cats-vs-dogs")
OURS = "topwork finetune"
EAGER = "torch eager, prefix in every epoch"
FASTAI = "fastai, fine_tune(5)"


def measure(settings: Settings) -> Part:
    """Seconds of an epoch, seconds to the best, and accuracies."""
    part = Part("finetune", "(h) Fine-tuning")
    data = settings.data
    warm = settings.new("cache")
    bundles: dict[str, Path] = {}
    for name in SETS[:1] if settings.quick else SETS:
        read_all(data / name)
        bundles[name] = settings.new(f"{name}.topwork")
        try:
            warm_up(warm, "fit", data / name / "train", "--test", data / name / "test", "-o", bundles[name], "--json")
        except ContenderFailed as error:
            part.failures[f"fit {name}"] = str(error)
            return part
    speed(part, settings, bundles["eurosat"], warm)
    if not settings.quick:
        quality(part, settings, bundles, warm)
    part.notes += [
        f"An epoch: the last {BLOCKS} blocks of Lite0 and the head learn. Ours is the mean of the epochs, views told "
        "apart; torch runs the frozen part anew for every batch, decoding left out. Time to the best: from process start "
        "(topwork) or from files (fastai) to the epoch with the best validation accuracy. Validation: a fifth of the training "
        "folder, drawn by each in its own way. What to keep is chosen on validation pictures.",
    ]
    return part


def speed(part: Part, settings: Settings, bundle: Path, warm: Path) -> None:
    """Ours beside plain torch and fastai on eurosat."""
    train, test = settings.data / "eurosat" / "train", settings.data / "eurosat" / "test"
    learned = round(0.8 * count(train))
    # What comes after the best epoch is not timed, so it is left out.
    once = ("--epochs", "1" if settings.quick else str(EPOCHS), "--folds", "1", "--refit", "none")
    ours = topwork_command(*_tune(settings, bundle, train, test, 0, "--unfreeze", str(BLOCKS), *once))
    eager = ("--blocks", str(BLOCKS), "--images", str(learned), "--classes", "10", "--seconds", "5" if settings.quick else "40")
    contenders = [
        Contender(OURS, ours, prepare=copied_cache(settings, warm)),
        Contender(EAGER, settings.own("eager_epoch.py", *eager)),
        Contender(FASTAI, settings.peer("fastai_tune.py", train, "--epochs", "1" if settings.quick else "5")),
    ]
    done = race(contenders, settings.repeats)
    part.failures |= done.failures
    epochs = done.values(OURS, partial(_mean, "seconds"))
    part.add(OURS, "an epoch", "s", epochs, f"{learned:,} pictures")
    part.add(OURS, "new views of an epoch", "s", done.values(OURS, partial(_mean, "views_seconds")))
    part.add(OURS, "peak memory", "GB", done.values(OURS, lambda run: run.peak_bytes / 1e9))
    part.add(EAGER, "an epoch", "s", done.values(EAGER, lambda run: float(run.answer["seconds"])))
    for name, best in ((OURS, _to_best), (FASTAI, lambda run: float(run.answer["seconds"]))):
        part.add(name, "to the best validation accuracy", "s", done.values(name, best))
    accuracies = done.values(OURS, _best_accuracy), done.values(FASTAI, lambda run: 100 * float(run.answer["accuracy"]))
    part.add(OURS, "best validation accuracy", "%", accuracies[0])
    part.add(FASTAI, "best validation accuracy", "%", accuracies[1])
    part.ratio(f"{EAGER} / {OURS}", done.values(EAGER, lambda run: float(run.answer["seconds"])), epochs, 5)
    part.ratio(
        f"time to the best: {FASTAI} / {OURS}",
        done.values(FASTAI, lambda run: float(run.answer["seconds"])),
        done.values(OURS, _to_best),
        8,
    )
    part.check("peak memory", done.values(OURS, lambda run: run.peak_bytes / 1e9), 3, "<=", "GB")


def quality(part: Part, settings: Settings, bundles: dict[str, Path], warm: Path) -> None:
    """What the whole command ends with on three sets, three seeds each: the accuracy of the network it keeps."""
    for name, bundle in bundles.items():
        train, test = settings.data / name / "train", settings.data / name / "test"
        kept, before = [], []
        for seed in range(3):
            command = topwork_command(*_tune(settings, bundle, train, test, seed))
            try:
                run = run_once(Contender(f"{OURS} {name}", command, prepare=copied_cache(settings, warm)))
            except ContenderFailed as error:
                part.failures[f"{OURS} {name} {seed}"] = str(error)
                continue
            answer = run.answer
            before.append(100 * float(answer["test"]["before"]))
            kept.append(100 * float(answer["test"]["after" if answer["taken"] else "before"]))
        part.add(f"{OURS}, {name}", "accuracy of the probe", "%", before)
        part.add(f"{OURS}, {name}", "accuracy of what is kept", "%", kept)
        if name == "eurosat":
            part.check("eurosat", kept, 96.5, ">=", "%")
        else:
            part.check(f"{name}: gain", [b - a for a, b in zip(before, kept, strict=True)], 0, ">=", "points")


def _tune(settings: Settings, bundle: Path, train: Path, test: Path, seed: int, *how: str) -> tuple[str | Path, ...]:
    out = settings.new("tuned.topwork")
    return ("finetune", bundle, train, "--test", test, "-o", out, *how, "--seed", str(seed), "--json", "-q")


def _mean(key: str, run: Run) -> float:
    rows = run.answer["history"][1:]
    return sum(float(row[key]) for row in rows) / len(rows)


def _to_best(run: Run) -> float:
    """Seconds from process start to the end of the epoch with the best validation accuracy."""
    rows = run.answer["history"]
    best = max(range(len(rows)), key=lambda place: rows[place]["accuracy"])
    learned = sum(row["seconds"] + row["views_seconds"] for row in rows)
    steps = run.answer["seconds_by_step"]
    later = sum(float(steps.get(step, 0.0)) for step in ("judging", "more folds", "learning again"))
    before = float(run.answer["seconds"]) - learned - later
    return before + sum(row["seconds"] + row["views_seconds"] for row in rows[: best + 1])


def _best_accuracy(run: Run) -> float:
    return 100 * max(float(row["accuracy"]) for row in run.answer["history"])
