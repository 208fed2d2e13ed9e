"""(a) A folder of photos becomes features: topwork beside timm and Keras, and beside the limit of decoder and engine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from contest import Contender, ContenderFailed, Race, Run, race, topwork_command
from photos import count, read_all, subset
from results import Part
from settings import Settings, train_folder, warm_up

LIMIT = "limit of decoder and engine (lite0)"


@dataclass(frozen=True)
class _Match:
    """One network on both sides."""

    name: str
    backbone: tuple[str, ...]
    """topwork's flags."""
    peers: dict[str, tuple[str, ...]]
    """Script and flags of each peer."""
    per_class: int | None
    """Pictures taken of each class; None: all."""
    target: float


_MATCHES = (
    _Match(
        "lite0",
        ("-b", "lite0"),
        {f"timm, {workers} workers": ("timm_features.py", "--workers", str(workers)) for workers in (0, 2)},
        None,
        12,
    ),
    _Match(
        "resnet50",
        ("-b", "timm:resnet50", "--weights", "random"),
        {
            f"timm, {workers} workers": ("timm_features.py", "--workers", str(workers), "--network", "resnet50")
            for workers in (0, 2)
        },
        150,
        10,
    ),
    _Match(
        "mobilenetv2",
        ("-b", "timm:mobilenetv2_100", "--weights", "random"),
        {"Keras-TensorFlow": ("keras_features.py",)},
        None,
        2.5,
    ),
)


def measure(settings: Settings) -> Part:
    """Pictures per second from files to features, imports left out and put in."""
    part = Part("features", "(a) Folder to features")
    for match in _MATCHES:
        _measure_match(settings, match, part)
    part.notes += [
        "Rate of the work: from the list of files to the features; imports, making the network and (topwork) making the "
        "engine file, once per machine, are left out. Whole process: from its start to its exit, with everything.",
        "timm's usual recipe: create_transform of its own config, DataLoader, eager float32, batch 32; the faster of 0 and 2 "
        "workers counts. ResNet-50 and MobileNetV2 have random weights on both sides: only their speed is measured.",
        "Limit: cores / (core-seconds of decoding + core-seconds of the engine, per picture), each measured alone in the "
        "same rounds; processor time, so other work on the machine does not lower it.",
    ]
    return part


def _measure_match(settings: Settings, match: _Match, part: Part) -> None:
    folder = train_folder(settings)
    per_class = 16 if settings.quick else match.per_class
    if per_class is not None:
        folder = subset(folder, settings.new(f"photos-{match.name}"), per_class)
    read_all(folder)
    images = count(folder)
    cache = settings.work / f"cache-{match.name}"
    own = f"topwork {match.name}"
    embed: tuple[str | Path, ...] = (
        "embed",
        folder,
        *match.backbone,
        "-o",
        settings.new(f"{match.name}.npz"),
        "--json",
        "--no-store",
    )
    contenders = [
        Contender(f"{name}, {match.name}", settings.peer(script, folder, *flags))
        for name, (script, *flags) in match.peers.items()
    ]
    peers = [contender.name for contender in contenders]
    try:
        first = warm_up(cache, *embed)
    except ContenderFailed as error:
        part.failures[own] = str(error)
    else:
        part.add(
            f"{own}, first time on a machine", "whole process", "s", [first.seconds], f"{images} pictures; makes the engine"
        )
        contenders.insert(0, Contender(own, topwork_command(*embed), {"TOPWORK_CACHE": str(cache)}))
    if match.name == "lite0":
        contenders.append(_limit(settings, folder, cache))
    done = race(contenders, settings.repeats)
    part.failures |= done.failures
    for name in (own, *peers):
        engine = next((str(run.answer.get("engine")) for run in done.runs.get(name, []) if "engine" in run.answer), "")
        note = f"{images} pictures{', ' + engine if engine else ''}"
        part.add(name, "rate of the work", "img/s", done.values(name, _rate), note)
        part.add(name, "rate of the whole process", "img/s", done.values(name, lambda run: images / run.seconds), note)
    _compare(part, match, done, own, peers, images)
    if match.name == "lite0":
        _compare_with_limit(part, done, own)


def _compare(part: Part, match: _Match, done: Race, own: str, peers: list[str], images: int) -> None:
    """topwork's rates over those of the fastest peer."""
    ran = [name for name in peers if done.runs[name]]
    if not ran:
        return
    best = max(ran, key=lambda name: statistics.median(done.values(name, _rate)))
    name = f"topwork / {best}"
    part.ratio(name, done.values(own, _rate), done.values(best, _rate), match.target, needs_bf16=True)
    part.ratio(
        f"{name}, whole process",
        done.values(own, lambda run: images / run.seconds),
        done.values(best, lambda run: images / run.seconds),
    )


def _rate(run: Run) -> float:
    return float(run.answer["images_per_second"])


def _limit(settings: Settings, folder: Path, cache: Path) -> Contender:
    """The limit, measured by topwork's own decoder and engine, each alone."""
    return Contender(LIMIT, settings.own("topwork_limit.py", folder), {"TOPWORK_CACHE": str(cache)})


def _compare_with_limit(part: Part, done: Race, own: str) -> None:
    limits = done.values(LIMIT, lambda run: float(run.answer["limit_images_per_second"]))
    for key, what in (("decode_core_seconds", "decoding alone"), ("engine_core_seconds", "engine alone")):
        values = done.values(LIMIT, lambda run, key=key: 1000 * float(run.answer[key]))  # type: ignore[misc]
        part.add(LIMIT, what, "core-ms a picture", values)
    engine = next((str(run.answer["engine"]) for run in done.runs.get(LIMIT, [])), "")
    part.add(LIMIT, "limit", "img/s", limits, engine)
    part.ratio("topwork lite0 as a share of the limit", done.values(own, _rate), limits, 0.9, unit="of 1")
