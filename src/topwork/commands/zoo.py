"""zoo list, show, get, classes, bench: the pretrained networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from topwork.commands.common import Backbone, Json, Offline, Quiet, Verbose, number, progress_bar, say, stay_offline, warn

if TYPE_CHECKING:
    from topwork.features.bench import Rate
    from topwork.zoo.catalogue import Network


def zoo_list(*, family: str = "", json_: Json = False, verbose: Verbose = False) -> int:
    """List the pretrained networks: the short names, and how many each family has; with --family, each of them.

    Parameters
    ----------
    family
        Only networks of this family, or whose name begins so: vgg, resnet, mobilenet.
    verbose
        Print every network; --json holds every one.
    """
    from topwork.errors import InputError
    from topwork.zoo.catalogue import every_network
    from topwork.zoo.names import SHORT

    networks = every_network(family)
    if not networks:
        raise InputError(f"--family {family}: no network of that family or name. See the families: topwork zoo list")
    known = {one.id.partition(".")[0] for one in networks}
    short = {name: one for name, one in SHORT.items() if one.id.partition(".")[0] in known}
    document = {
        "short": [{"name": name, **_short_facts(name)} for name in short],
        "networks": [asdict(one) for one in networks],
    }
    lines = [
        f"{name:<16} {one.about}: {one.size} px, {_millions(one.parameters)} parameters, "
        f"{_billions(one.multiply_adds)} multiply-adds, {one.licence}; {one.id}"
        for name, one in short.items()
    ]
    if family or verbose:
        lines += [f"{one.id:<48} {one.size} px, {number(one.classes, 'class', 'classes')}, {one.licence}" for one in networks]
    else:
        lines += ["", *_families(networks)]
    say(document, lines, json_)
    return 0


def _short_facts(name: str) -> dict[str, Any]:
    from topwork.zoo.names import SHORT

    facts = asdict(SHORT[name])
    package = facts.pop("package")
    return {**facts, "package": None if package is None else package["name"]}


def _families(networks: Sequence[Network]) -> list[str]:
    """How many networks each family has, by source."""
    lines = []
    for source in dict.fromkeys(one.source for one in networks):
        counts = Counter(one.family for one in networks if one.source == source)
        told = ", ".join(f"{family} {count}" for family, count in sorted(counts.items()))
        lines.append(f"{source}: {number(counts.total(), 'network')} with weights, by family: {told}")
    return [*lines, "Each of a family: topwork zoo list --family vgg. One of them: topwork zoo show vgg16"]


def zoo_show(name: str, /, *, json_: Json = False, verbose: Verbose = False) -> int:
    """Show what is known of a network: size, preprocessing, features, classes, licence, weights, speed here.

    Parameters
    ----------
    name
        A short name, timm:NAME or keras:NAME.
    verbose
        Name every layer; --json names every one.
    """
    from topwork.features.bench import remembered
    from topwork.zoo.facts import described

    facts = described(name)
    rates = remembered(name)
    say({**facts, "speed": [asdict(rate) for rate in rates]}, _show_text(facts, rates, verbose), json_)
    return 0


def _show_text(facts: dict[str, Any], rates: Sequence[Rate], verbose: bool) -> list[str]:
    features, weights = facts["features"], facts["weights"]
    side = facts["input_size_pixels"]
    part = (
        f"the middle {facts['crop']:.1%}" if facts["crop_mode"] == "center" else f"squashed, {facts['crop']:.1%} of both sides"
    )
    scaled = _scaled_text(facts["mean"], facts["std"])
    if weights["here"]:
        told = f"{weights['bytes'] / 1e6:.1f} MB, SHA-256 {weights['sha256']}, {weights['file']}"
    else:
        told = weights["problem"] or f"not on this machine: topwork zoo get {facts['name']}"
    layers = facts["layers"]
    shown = ", ".join(layers) if verbose else f"{layers[0]} to {layers[-1]}; all of them: -v"
    return [
        f"{facts['name']}: {facts['id']}{', ' + facts['about'] if facts['about'] else ''}",
        f"  licence       {facts['licence']}",
        f"  size          {_millions(facts['parameters'])} parameters, "
        f"{_billions(facts['multiply_adds'])} multiply-adds a picture",
        f"  sees          {side} x {side} pixels, {part}, {facts['interpolation']}",
        f"  normalised    {scaled}; in the order {facts['channels']}",
        f"  features      {features['last']:,} last, {len(features['stages'])} stages of "
        f"{', '.join(str(width) for _, width in features['stages'])}"
        + (f", {features['answers']:,} answers" if features["answers"] else ""),
        f"  classes       {facts['classes']:,} of {facts['label_set']}: topwork zoo classes WORD -b {facts['name']}"
        if facts["classes"]
        else "  classes       none of its own",
        f"  layers        {number(len(layers), 'layer')}: {shown}",
        f"  weights       {told}",
        *_speed_text(facts["name"], rates),
    ]


def _scaled_text(mean: Sequence[float], std: Sequence[float]) -> str:
    """What is done to the channels R, G, B before the network sees them, in words."""
    if all(abs(255 * one - 1) < 1e-6 for one in std):
        less = ", ".join(f"{255 * one:.2f}" for one in mean)
        return f"0 to 255{f', minus R, G, B {less}' if any(mean) else '; the network scales itself'}"
    if set(mean) == set(std) == {0.5}:
        return "-1 to 1"
    return f"0 to 1, minus R, G, B {', '.join(f'{m:g}' for m in mean)}, divided by {', '.join(f'{s:g}' for s in std)}"


def _speed_text(name: str, rates: Sequence[Rate]) -> list[str]:
    if not rates:
        return [f"  speed         not measured here: topwork zoo bench {name}"]
    return [f"  speed         {'; '.join(_rate_text(rate) for rate in rates)}"]


def _rate_text(rate: Rate) -> str:
    if rate.problem:
        return f"{rate.engine}: {rate.problem}"
    return f"{rate.engine} {rate.precision} {rate.images_per_second:.1f} pictures a second"


def zoo_get(name: str, /, *, offline: Offline = False, json_: Json = False, quiet: Quiet = False) -> int:
    """Fetch a network's pretrained weights, so that they are on this machine when they are needed.

    Parameters
    ----------
    name
        A short name, timm:NAME or keras:NAME.
    """
    from topwork.runtime import sha256_file
    from topwork.zoo.facts import get_weights

    stay_offline(offline)
    with progress_bar("bytes", quiet) as told:
        file, fetched = get_weights(name, told)
    size, sha256 = file.stat().st_size, sha256_file(file)
    document = {"name": name, "file": str(file), "bytes": size, "sha256": sha256, "fetched": fetched}
    came = "fetched" if fetched else "was here"
    say(document, [f"{name}: {file}, {size / 1e6:.1f} MB, SHA-256 {sha256}, {came}"], json_)
    return 0


def zoo_classes(word: str, /, *, backbone: Backbone = "lite0", json_: Json = False) -> int:
    """Find the classes a network was trained on, by a word of their name; without -b the 1,000 of ImageNet.

    Parameters
    ----------
    word
        A part of the name: zebra, retriever. An empty one finds all.
    """
    from topwork.errors import InputError
    from topwork.zoo.labels import find_labels
    from topwork.zoo.names import SHORT

    if backbone in SHORT:
        label_set = SHORT[backbone].label_set
    else:
        from topwork.zoo.facts import facts

        label_set = facts(backbone)[0].label_set
    if not label_set:
        raise InputError(f"{backbone}: this network was trained without classes, or their names are not known.")
    found = find_labels(word, label_set)
    if not found:
        raise InputError(f"{word}: no class of {label_set} has this in its name. Try a shorter or a broader word.")
    document = {"backbone": backbone, "label_set": label_set, "classes": [asdict(label) for label in found]}
    say(document, [f"{label.index:>5}  {label.name}" for label in found], json_)
    return 0


def zoo_bench(names: Annotated[list[str], Parameter(negative="")], /, *, json_: Json = False, quiet: Quiet = False) -> int:
    """Measure how many pictures a second each engine brings to features here; zoo show remembers it.

    Parameters
    ----------
    names
        Short names, timm:NAME or keras:NAME. Their weights need not be here: the speed does not depend on them.
    """
    from topwork.features.bench import bench
    from topwork.runtime import cores, processor
    from topwork.zoo.names import resolve

    for name in names:  # a mistyped name is told before anything is measured
        resolve(name)
    results = {}
    for name in names:
        if not quiet:
            warn(f"measuring {name} ...")
        results[name] = bench(name)
    document = {
        "processor": processor(),
        "cores": cores(),
        "backbones": [{"name": name, "speed": [asdict(rate) for rate in rates]} for name, rates in results.items()],
    }
    lines = [f"{name}: {'; '.join(_rate_text(rate) for rate in rates)}" for name, rates in results.items()]
    say(document, [*lines, f"on {processor()}, {number(cores(), 'core')}, random weights, pixels to features"], json_)
    return 0


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} G"
