"""(attack) Attacks beside foolbox, torchattacks and ART: seconds, who is fooled, how small a change; and one photo's way."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from contest import Contender, ContenderFailed, Run, race, run_once, topwork_command
from photos import read_all
from results import Part, wilson
from settings import Settings, cache_with_engine, copied_cache, fresh_cache, get_ready, warm_up

OURS, FOOLBOX, TORCHATTACKS, ART = "topwork", "foolbox", "torchattacks", "ART"
LIBRARIES = {FOOLBOX: "foolbox", TORCHATTACKS: "torchattacks", ART: "art"}
EVERY_STEP = "topwork, all steps of every picture"
STRONG = 8
"""Of 255: the strength that is timed, at which nothing should be left."""


@dataclass(frozen=True)
class Task:
    """One attack at one strength, by everybody who has it."""

    attack: str
    levels: float = 0.0
    """Of 255; 0: the smallest change is sought."""
    most: int | None = None
    """Photos, of all that were drawn."""

    @property
    def epsilon(self) -> float:
        """As a share of full brightness."""
        return self.levels / 255

    @property
    def title(self) -> str:
        """fgsm at 2/255"""
        return f"{self.attack} at {self.levels:g}/255" if self.levels else f"{self.attack}, l2"


SHARED = (
    *(Task("fgsm", levels) for levels in (0.5, 1, 2, 4, 8)),
    Task("pgd", 0.5, 32),
    Task("pgd", 1, 32),
    Task("pgd-targeted", STRONG, 32),
)
SMALLEST = (Task("ddn", most=32), Task("fmn", most=32), Task("deepfool", most=32))
"""torchattacks and ART differentiate all thousand classes for these: hours; foolbox does as they were published."""


def measure(settings: Settings) -> Part:
    """All of it."""
    part = Part("attack", "(attack) Attacks")
    folder = settings.data / "imagenet-one-per-class"
    read_all(folder)
    try:
        pictures = drawn(settings, 4 if settings.quick else 64)
        speed(part, settings, pictures)
        strength(part, settings, pictures)
        through_file(part, settings, folder)
        ensemble(part, settings)
        one_photo(part, settings)
    except ContenderFailed as error:
        part.failures["attack"] = str(error)
    part.notes.append(
        "Lite0, the same photos that it reads rightly, the same steps (40 of 2.5/40 epsilon, from a random start), batches of "
        "32, at the network's input; peers in eager torch, normalisation in the network, weights without gradient. Seconds are "
        "those of the attack, imports and the network's making left out. topwork leaves a picture that is fooled; told beside "
        "it: with all steps of every picture. Who is fooled is said by float32 torch of what each handed back, in one script."
    )
    return part


def drawn(settings: Settings, count: int) -> Path:
    """The photos that everybody attacks. Raises ContenderFailed."""
    file = settings.new("photos.npz")
    script = settings.own("attack_pictures.py", settings.data / "imagenet-one-per-class", str(count), file)
    get_ready(Contender("photos that the network reads rightly", script, {"TOPWORK_CACHE": str(cache_with_engine(settings))}))
    return file


def speed(part: Part, settings: Settings, pictures: Path) -> None:
    """Seconds of PGD-40 at 8/255, in turn."""
    task = Task("pgd", STRONG)
    files = {name: settings.new("attacked.npy") for name in (OURS, EVERY_STEP, *LIBRARIES)}
    contenders = [contender(settings, name, task, pictures, file) for name, file in files.items()]
    done = race(contenders, settings.repeats)
    part.failures |= done.failures
    seconds = {name: done.values(name, lambda run: float(run.answer["seconds"])) for name in files}
    for name, values in seconds.items():
        part.add(name, "PGD-40 at 8/255", "s", values)
        part.add(name, "the whole process", "s", done.values(name, lambda run: run.seconds))
    peers = {name: seconds[name] for name in LIBRARIES if seconds[name]}
    if peers:
        fastest = min(peers, key=lambda name: statistics.median(peers[name]))
        part.ratio(f"PGD-40: {fastest}, the fastest of them / topwork", peers[fastest], seconds[OURS], 2.5)
        part.ratio(f"PGD-40: {fastest} / {EVERY_STEP}", peers[fastest], seconds[EVERY_STEP])
    part.ratio("PGD-40: ART / topwork", seconds[ART], seconds[OURS], 5)
    _judged(part, settings, task, pictures, {name: file for name, file in files.items() if seconds[name]})


def strength(part: Part, settings: Settings, pictures: Path) -> None:
    """Who is fooled by each shared attack, and how small the smallest changes are."""
    shared = (SHARED[2], SHARED[-1]) if settings.quick else SHARED
    smallest = SMALLEST[:1] if settings.quick else SMALLEST
    for task in shared:
        _judged(part, settings, task, pictures, _attacked(part, settings, task, pictures, (OURS, *LIBRARIES)))
    medians = {
        task: _judged(part, settings, task, pictures, _attacked(part, settings, task, pictures, (OURS, FOOLBOX)))
        for task in smallest
    }
    steps = {task.attack: found for task, found in medians.items() if task.attack != "deepfool"}
    theirs = [found[FOOLBOX] for found in steps.values() if FOOLBOX in found]
    ours = [found[OURS] for found in steps.values() if OURS in found]
    if theirs and ours:
        name = "smallest l2 change of 40 gradients, median: best of topwork / best of foolbox"
        part.ratio(name, [min(ours)], [min(theirs)], 1.0, "<=")


def contender(settings: Settings, name: str, task: Task, pictures: Path, file: Path) -> Contender:
    """One attack of one library."""
    words: list[str | Path] = [pictures, file, "--epsilon", repr(task.epsilon)]
    words += [] if task.most is None else ["--most", str(task.most)]
    if name in LIBRARIES:
        return Contender(name, settings.peer("attack_peers.py", LIBRARIES[name], task.attack, *words))
    attack = "pgd-all-steps" if name == EVERY_STEP else task.attack
    cache = {"TOPWORK_CACHE": str(cache_with_engine(settings))}
    return Contender(name, settings.own("attack_topwork.py", "topwork", attack, *words), cache)


def _attacked(part: Part, settings: Settings, task: Task, pictures: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """By library, the file of its attacked pictures."""
    files = {name: settings.new("attacked.npy") for name in names}
    done = race([contender(settings, name, task, pictures, file) for name, file in files.items()], rounds=1)
    part.failures |= {f"{name}, {task.title}": text for name, text in done.failures.items()}
    for name in names:
        part.add(name, task.title, "s", done.values(name, lambda run: float(run.answer["seconds"])))
    return {name: file for name, file in files.items() if done.runs[name]}


def _judged(part: Part, settings: Settings, task: Task, pictures: Path, files: dict[str, Path]) -> dict[str, float]:
    """Tell who was fooled; by library the median length of its changes."""
    words = [f"{name} {task.attack}={file}={task.epsilon!r}" for name, file in files.items()]
    answer = get_ready(Contender(f"who is fooled, {task.title}", settings.peer("attack_judge.py", pictures, *words))).answer
    found = {name: answer[f"{name} {task.attack}"] for name in files}
    shares = {name: 100 * one["fooled"] / one["n"] for name, one in found.items()}
    for name, one in found.items():
        what = f"{task.title}: fooled" if task.levels else f"{task.title}: median length"
        value, unit = (shares[name], "%") if task.levels else (one["median"], "")
        part.add(name, what, unit, [value], f"{one['fooled']} of {one['n']}")
    theirs = [share for name, share in shares.items() if name in LIBRARIES]
    if OURS in shares and theirs and task.levels:
        part.check(f"{task.title}: fooled by topwork less the most of theirs", [shares[OURS] - max(theirs)], -1, ">=", "points")
    if OURS in shares and task.levels == STRONG and task.attack != "fgsm":
        wanted = 99 if "targeted" in task.attack else 100
        part.check(f"{task.title}: fooled by topwork", [shares[OURS]], wanted, ">=", "%")
    return {name: one["median"] for name, one in found.items()}


def through_file(part: Part, settings: Settings, folder: Path) -> None:
    """Of the photos that an attack on the input fools, how many a saved PNG fools, asked again by `topwork predict`."""
    cache = {"TOPWORK_CACHE": str(cache_with_engine(settings))}
    most = "4" if settings.quick else "100"
    fooled: dict[str, int] = {}
    for through in ("input", "file"):
        words = ["-b", "lite0", folder, "--epsilon", f"{STRONG}/255", "--through", through, "--most", most, "--json", "-q"]
        run = run_once(Contender(f"topwork attack --through {through}", topwork_command("attack", *words), cache))
        point = run.answer["curve"][-1]
        fooled[through] = point["n"] - point["left"]
        low, high = wilson(fooled[through], point["n"])
        note = f"{fooled[through]} of {point['n']}, 95 % interval {100 * low:.0f} to {100 * high:.0f}"
        part.add(f"topwork attack --through {through}", "pgd at 8/255: fooled", "%", [100 * fooled[through] / point["n"]], note)
        part.add(f"topwork attack --through {through}", "the whole process", "s", [run.seconds])
    part.check("fooled through the file / through the input", [100 * fooled["file"] / fooled["input"]], 99, ">=", "%")


def ensemble(part: Part, settings: Settings) -> None:
    """What the ensemble of attacks leaves of a bundle's test pictures, and whether the controls pass."""
    cache, sets = cache_with_engine(settings), settings.data / "cats-vs-dogs"
    bundle = settings.new("cats-vs-dogs.topwork")
    warm_up(cache, "fit", sets / "train", "-o", bundle, "--json")
    words = ["attack", bundle, sets / "test", "--attack", "ensemble", "--epsilon", "4/255", "--json", "-q"]
    words += ["--most", "4" if settings.quick else "100"]
    run = run_once(Contender("topwork attack, ensemble", topwork_command(*words), {"TOPWORK_CACHE": str(cache)}))
    point, controls = run.answer["curve"][-1], run.answer["controls"]
    failed = [one["name"] for one in controls if not one["passed"]]
    note = f"n {point['n']}, controls that failed: {', '.join(failed) or 'none'} of {len(controls)}"
    part.check(f"cats-vs-dogs, ensemble at 4/255: left ({note})", [100 * point["share"]], 0, "<=", "%")
    part.add("topwork attack, ensemble", "the whole process", "s", [run.seconds])


def one_photo(part: Part, settings: Settings) -> None:
    """`topwork attack` on one photo, from process start to figure, on a machine where it never ran and where it did."""
    photo = settings.data / "imagenet-one-per-class"
    photo = sorted(next(folder for folder in sorted(photo.iterdir()) if folder.is_dir()).iterdir())[0]

    def command() -> list[str]:
        return topwork_command("attack", "-b", "lite0", photo, "-o", settings.new("figure.png"), "--json")

    first, again = "topwork attack, one photo, first time", "topwork attack, one photo, again"
    warm = cache_with_engine(settings)
    contenders = [
        Contender(first, command(), prepare=lambda: fresh_cache(settings)),
        Contender(again, command(), prepare=copied_cache(settings, warm)),
    ]
    done = race(contenders, settings.repeats)
    part.failures |= done.failures

    def seconds(run: Run) -> float:
        return run.seconds

    for name in (first, again):
        part.add(name, "from process start to figure", "s", done.values(name, seconds))
    part.check("one photo, first time", done.values(first, seconds), 20, "<=", "s")
