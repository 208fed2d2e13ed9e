"""The sections about the pictures' distance, the choice of a network, the learning curve and the map."""

from __future__ import annotations

from collections.abc import Sequence

from topwork.report import charts
from topwork.report.parts import more, pairs, part, section, table
from topwork.report.plots import Axis, Dot, bars, plot, ticks_between
from topwork.report.text import Facts, count, figure, name, number, percent, safe, short_path

MOST_CLASSES = 40
TAKEN = 3
ADVICE = {"last": "the last layer", "staged": "staged features", "finetune": "fine-tuning"}
HUES = 12
"""Colours that style.css has for classes."""


def distance(facts: Facts) -> str:
    """How strange the pictures are, layer by layer, what they are taken for, and the advice."""
    found = facts.get("distance") or {}
    if number(found.get("distance")) is None:
        return ""
    layers = found.get("layers") or []
    details = found.get("details") or {}
    tiles = [
        ("Distance: 0 as in training, 1 nothing in common", f"{found['distance']:.3f}"),
        ("Advice", safe(ADVICE.get(found.get("advice") or "", ""))),
    ]
    for key, what in (("last", "Right from the last layer"), ("staged", "Right from the stages")):
        probe = details.get(key) or {}
        if number(probe.get("accuracy")) is not None:
            tiles.append((f"{what}, held out", percent(probe["accuracy"])))
    drawn = bars([(one["name"], one["distance"]) for one in layers], "distance layer by layer", len(layers) - len(layers) // 3)
    profile = part(
        "Layer by layer",
        f"Normalisation layers of {safe(found.get('backbone'))}, first to last; the darker third is what a head reads.",
        f"<figure>{drawn}</figure>" if layers else "",
    )
    rows = [
        (name(label, 48), ", ".join(f"{name(one['name'], 40)} {percent(one['share'], 0)}" for one in taken[:TAKEN]))
        for label, taken in list((found.get("taken_for") or {}).items())[:MOST_CLASSES]
        if label
    ]
    rest = len(found.get("taken_for") or {}) - MOST_CLASSES
    kinds = part(
        "What the network takes them for",
        "Its own classes that most pictures of each class are taken for.",
        table(("Class", "Taken for"), rows, "Classes and what the network takes them for", "list") + more(rest),
    )
    lead = _sentence(found.get("reason"))
    return section("distance", "How strange these pictures are", lead, pairs(tiles, "tiles small") + profile + kinds)


def compare(facts: Facts) -> str:
    """Every network that was tried, the pick and why."""
    found = facts.get("compare") or {}
    rows = found.get("backbones") or []
    if not rows:
        return ""
    low = min(one["accuracy_low"] for one in rows)
    most = 1.12 * max(one["latency_ms"] for one in rows)
    x = Axis(0, most, ticks_between(0, most), "milliseconds for one picture")
    y = Axis(low - 0.1 * (1 - low), 1.0, ticks_between(low, 1.0), "right, held out (%)", _hundred)
    dots = [
        Dot(
            one["latency_ms"],
            one["accuracy"],
            one["accuracy_low"],
            one["accuracy_high"],
            f"{one['name']}: {percent(one['accuracy'])}, {one['latency_ms']:.1f} ms, {one['size_mb']:.1f} MB",
            "dot" if one["name"] == found.get("pick") else "dot other",
            one["name"],
        )
        for one in rows
    ]
    budget = number((found.get("budget") or {}).get("ms"))
    marks = [("x", budget, f"budget {budget:g} ms")] if budget is not None and budget < most else []
    cells = [
        (
            ("✓ " if one["name"] == found.get("pick") else "") + name(one["name"], 60),
            charts.bar(one["accuracy"], one["accuracy_low"], one["accuracy_high"]),
            percent(one["accuracy"]),
            f"{one['latency_ms']:.1f}",
            count(one["images_per_second"]),
            f"{one['size_mb']:.1f}",
            figure(number(one.get("memory_mb"))),
            f"{one['logme']:.3f}",
            f"{one['h_score']:.2f}",
            figure(number(one.get("leep"))),
            count(one["pictures"]),
        )
        for one in rows
    ]
    heads = (
        "Network",
        "0 to 100 %",
        "Right",
        "ms",
        "Pictures a second",
        "MB",
        "MB in memory",
        "LogME",
        "H-score",
        "LEEP",
        "Tried on",
    )
    drawn = table(heads, cells, "Networks that were tried", "list networks", tuple(range(2, len(heads))))
    lead = _sentence(found.get("reason"))
    picture = f"<figure>{plot('pareto', 'accuracy against milliseconds', x, y, dots, marks=marks)}</figure>"
    dropped = [f"<li>{name(one['name'])}: dropped {safe(one['dropped'])}</li>" for one in rows if one.get("dropped")]
    dropped += [f"<li>{name(one['name'])}: {_get(one)}</li>" for one in found.get("skipped") or []]
    left_out = f"<ul>{''.join(dropped)}</ul>" if dropped else ""
    return section("compare", "Which network", lead, picture + drawn + part("Not tried to the end", "", left_out))


def curve(facts: Facts) -> str:
    """Accuracy against pictures a class, the forecast, and the classes that gain most."""
    found = facts.get("curve") or {}
    points, forecast = found.get("points") or [], found.get("forecast") or {}
    path = forecast.get("path") or []
    if not points or not path:
        return ""
    low = min([one["low"] for one in points] + [one["low"] for one in path])
    first, last = min(one["per_class"] for one in path), max(one["per_class"] for one in path)
    ticks = [one for one in (2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000) if first <= one <= last]
    x = Axis(first * 0.93, last, ticks, "training pictures a class", "{:,}".format, logarithmic=True)
    y = Axis(max(0.0, low - 0.05 * (1 - low)), 1.0, ticks_between(low, 1.0), "right, held out (%)", _hundred)
    dots = [
        Dot(
            one["per_class"],
            one["accuracy"],
            one["low"],
            one["high"],
            f"{one['per_class']:.1f} a class: {percent(one['accuracy'])}",
        )
        for one in points
    ]
    goal = forecast["goal"]
    marks = [("x", forecast["now"]["per_class"], "today"), ("y", goal, percent(goal))]
    drawn = plot(
        "curve",
        "accuracy against pictures a class",
        x,
        y,
        dots,
        [(one["per_class"], one["accuracy"]) for one in path],
        [(one["per_class"], one["low"], one["high"]) for one in path],
        marks,
    )
    rows = [
        (
            name(one["label"], 48),
            count(one["pictures"]),
            percent(one["accuracy"]),
            f"{100 * one['gain']:+.1f}",
            f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}",
        )
        for one in (found.get("classes") or [])[:MOST_CLASSES]
    ]
    heads = ("Class", "Pictures", "Right now", "Points from twice as many", "95 % interval")
    gains = part(
        "Who gains most",
        "What twice the photos of a class are expected to bring it.",
        table(heads, rows, "Classes by what more photos bring", "list long" if len(rows) > 12 else "list", (1, 2, 3, 4)),
    )
    lead = _sentence(found.get("reason"))
    return section("curve", "How many more photos it takes", lead, f"<figure>{drawn}</figure>{gains}")


def map_(facts: Facts) -> str:
    """Every picture a dot, alike ones near each other; suspect labels and strangers ringed."""
    found = facts.get("map") or {}
    points: Sequence[Facts] = found.get("points") or []
    if not points:
        return ""
    classes = {label: place for place, label in enumerate(found.get("classes") or [])}
    dots = []
    for one in points:
        kind = f"hue{classes[one['label']] % HUES}" if one.get("label") in classes else "hue"
        ring = " suspect" if one.get("suggested") else " alone" if one.get("stranger") else ""
        told = f"{one['label'] or ''} {short_path(one['path'])}" + (
            f", looks like {one['suggested']}" if one.get("suggested") else ""
        )
        at = f'cx="{600 * one["x"] + 10:.0f}" cy="{610 - 600 * one["y"]:.0f}"'
        dots.append(f'<circle class="{kind}{ring}" {at} r="{5 if ring else 4}"><title>{safe(told)}</title></circle>')
    drawn = (
        f'<svg class="map" viewBox="0 0 620 620" role="img" aria-label="map of {len(points)} pictures">{"".join(dots)}</svg>'
    )
    legend = "".join(
        f'<span><i class="key hue{place % HUES}"></i>{name(label, 30)}</span> ' for label, place in list(classes.items())[:HUES]
    )
    if len(classes) > HUES:
        legend += f"and {len(classes) - HUES} classes more, the colours repeat"
    lead = (
        f"Every picture is a dot, alike ones lie near each other. {count(found.get('suspects'))} suspect labels and "
        f"{count(found.get('strangers'))} strangers are ringed."
    )
    return section("map", "The folder as a map", lead, f'<figure>{drawn}<p class="legend">{legend}</p></figure>')


def _get(skipped: Facts) -> str:
    if skipped.get("command"):
        return f"its weights are not at hand. Get them: <code>{safe(skipped['command'])}</code>"
    return safe(skipped.get("reason") or "its weights are not at hand")


def _sentence(words: object) -> str:
    text = str(words or "").strip().rstrip(".")
    return safe(f"{text[:1].upper()}{text[1:]}.") if text else ""


def _hundred(share: float) -> str:
    return f"{100 * share:.3g}"
