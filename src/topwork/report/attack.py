"""The section about attacks: how much of the accuracy a small change leaves, and whether the measurement can be believed."""

from __future__ import annotations

from topwork.report import charts
from topwork.report.parts import Thumbnails, gallery, part, photo, section, table
from topwork.report.text import Facts, count, figure, name, number, plural, safe

MOST_TURNS = 12
MOST_PHOTOS = 6


def attack(facts: Facts, thumbnails: Thumbnails) -> str:
    """The curve, each picture's smallest change, what was turned into what, and the controls."""
    found = facts.get("attack") or {}
    curve = found.get("curve") or []
    if not curve:
        return ""
    rows = [
        (
            _strength(point, found) if number(point.get("epsilon")) else "as they are",
            {"accuracy": point.get("share"), "accuracy_low": point.get("low"), "accuracy_high": point.get("high")},
        )
        for point in curve
    ]
    there = found.get("showing_target") or 0
    through = "the saved file, opened as any picture" if found.get("through") == "file" else "what the network sees"
    change = (
        "each value of a picture was changed by at most this much"
        if found.get("norm") == "linf"
        else "a picture was changed by at most this length (the root of the sum of the squares of what its values changed by)"
    )
    lead = (
        f"Of {plural(found.get('n'), 'picture')} that are read rightly, how many are still after {change} "
        f"({safe(figure(found.get('attack')))}; through {through}). "
        f"{count(found.get('misread') or 0)} were misread to begin with and do not count."
        + (f" Nor do {plural(there, 'picture')} that show the target already." if there else "")
    )
    return section(
        "attack",
        "How little it takes to fool it",
        lead,
        f'<figure class="plot">{charts.intervals(rows)}</figure>'
        + controls(found)
        + _turned(found)
        + _photos(
            "The most fragile", "The smallest change was enough here.", found.get("most_fragile") or [], found, thumbnails
        )
        + _photos(
            "The hardest",
            "These took the largest change, or were not fooled at all.",
            found.get("hardest") or [],
            found,
            thumbnails,
        ),
    )


def _strength(point: Facts, found: Facts) -> str:
    if found.get("norm") == "linf":
        return f"{figure(number(point.get('epsilon_255')))}/255"
    return f"length {figure(number(point.get('epsilon')))}"


def controls(found: Facts) -> str:
    """What was checked about an attack, and what it means where a check failed."""
    checks = found.get("controls") or []
    rows = [
        (
            ("✓" if one.get("passed") else "✗") + f" <span>{safe(one.get('name') or '')}</span>",
            safe(one.get("measured") or ""),
            "" if one.get("passed") else safe(one.get("meaning") or ""),
        )
        for one in checks
    ]
    columns = 2 if all(one.get("passed") for one in checks) else 3
    lead = "An attack that fails proves nothing. These checks tell a strong classifier from a weak attack."
    return part(
        "Can this be believed?",
        lead,
        table(("Check", "Measured", "What it means")[:columns], [row[:columns] for row in rows], "Controls", "list"),
    )


def _turned(found: Facts) -> str:
    turned = found.get("turned_into") or []
    rows = [(name(one.get("label"), 40), name(one.get("becomes"), 40), count(one.get("count"))) for one in turned[:MOST_TURNS]]
    return part(
        "What becomes what", "", table(("Class", "Becomes", "Pictures"), rows, "Classes before and after", "list", (2,))
    )


def _photos(title: str, lead: str, pictures: list[Facts], found: Facts, thumbnails: Thumbnails) -> str:
    figures = []
    for one in pictures[:MOST_PHOTOS]:
        smallest = number(one.get("smallest"))
        size = (
            "never" if smallest is None else f"{255 * smallest:.2g}/255" if found.get("norm") == "linf" else f"{smallest:.2g}"
        )
        becomes = "" if smallest is None else f": {name(one.get('becomes'), 40)}"
        caption = f'<span class="said">{safe(size)}{becomes}</span> '
        figures.append(
            photo(
                one.get("path"),
                thumbnails,
                f"{caption}<span>is {name(one.get('label'), 40)}</span>",
                f"picture of {one.get('label')}",
            )
        )
    return part(title, lead, gallery(figures, len(figures)))
