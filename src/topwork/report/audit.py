"""The section about the pictures themselves: broken files, copies, leaks between train and test, doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from topwork.report import charts
from topwork.report.parts import Thumbnails, gallery, more, pairs, part, photo, section, table
from topwork.report.text import Facts, count, name, number, percent, plural, probability, safe, short_path

MOST_GROUPS = 12
MOST_IN_GROUP = 3
MOST_FILES = 20
MOST_BARS = 40

CHECKS = (
    ("broken", "broken file", "broken files"),
    ("extension_mismatches", "wrong extension", "wrong extensions"),
    ("duplicates", "group of exact copies", "groups of exact copies"),
    ("near_duplicates", "group of near-copies", "groups of near-copies"),
    ("label_conflicts", "copy with two labels", "copies with two labels"),
    ("leaks", "leak from train to test", "leaks from train to test"),
    ("suspect_labels", "doubtful label", "doubtful labels"),
    ("odd_sizes", "odd size", "odd sizes"),
)
"""Key of the audit, and what one and what several of its entries are called."""


def audit(facts: Facts, thumbnails: Thumbnails) -> str:
    """Everything the audit looked for, and what it found."""
    found = facts.get("audit") or {}
    if not found:
        return ""
    parts = (
        _summary(found),
        _leaks(found, thumbnails),
        _suspects(found.get("suspect_labels") or [], thumbnails),
        _conflicts(found.get("label_conflicts") or [], thumbnails),
        _copies("Exact copies", "The same picture more than once.", found.get("duplicates") or [], thumbnails),
        _copies("Near-copies", "Almost the same picture more than once.", found.get("near_duplicates") or [], thumbnails),
        _files(
            "Broken files",
            "Left out; nothing was changed or deleted.",
            ("File", "Reason", "Detail"),
            ("reason", "detail"),
            found.get("broken") or [],
        ),
        _files(
            "Wrong extensions",
            "Read by what they are, not by what they are called.",
            ("File", "Detail"),
            ("detail",),
            found.get("extension_mismatches") or [],
        ),
        _odd(found.get("odd_sizes") or [], thumbnails),
        _balance(found),
    )
    return section("audit", "The pictures it learned from", "", "".join(parts))


def _summary(found: Facts) -> str:
    tiles = []
    if found.get("pictures") is not None:
        usable = f", {count(found['usable'])} usable" if found.get("usable") is not None else ""
        tiles.append((f"pictures{usable}", count(found["pictures"])))
    looked = [(found[key], one, many) for key, one, many in CHECKS if found.get(key) is not None]
    tiles += [(one if len(entries) == 1 else many, count(len(entries))) for entries, one, many in looked]
    clear = "<p>Every check came back clean.</p>" if looked and not any(entries for entries, _, _ in looked) else ""
    return pairs(tiles, "tiles small") + clear


def _leaks(found: Facts, thumbnails: Thumbnails) -> str:
    leaks = found.get("leaks") or []
    lead = "Pictures that are in the train and in the test part: the classifier has seen the answer."
    before, after = number(found.get("accuracy_with_leaks")), number(found.get("accuracy_without_leaks"))
    if before is not None and after is not None:
        lead += f" Accuracy with them <strong>{percent(before)}</strong>, without them <strong>{percent(after)}</strong>."
    groups = []
    for leak in leaks[:MOST_GROUPS]:
        kind = safe(leak.get("kind") or "")
        sides = [photo(leak.get(side), thumbnails, f"<span>{side}</span>", f"{side} picture") for side in ("train", "test")]
        groups.append(f'<div class="group"><p>{kind} copy</p><div>{"".join(sides)}</div></div>')
    return part("Leaks from train to test", lead, gallery(groups, len(leaks), "groups"))


def _suspects(suspects: Sequence[Facts], thumbnails: Thumbnails) -> str:
    figures = [
        photo(
            one.get("path"),
            thumbnails,
            f'<span class="said">looks like {name(one.get("suggested"), 40)} {probability(one.get("probability"))}</span> '
            f"<span>labelled {name(one.get('label'), 40)}</span>",
            f"picture labelled {one.get('label')}, looks like {one.get('suggested')}",
        )
        for one in suspects[:MOST_GROUPS]
    ]
    lead = (
        "They look like another class than their label says. Some are hard pictures, some are wrong labels: a person decides."
    )
    return part("Doubtful labels", lead, gallery(figures, len(suspects)))


def _conflicts(conflicts: Sequence[Facts], thumbnails: Thumbnails) -> str:
    groups = [_group(one.get("paths") or [], thumbnails, one.get("labels")) for one in conflicts[:MOST_GROUPS]]
    return part(
        "Copies with different labels",
        "The same picture stands in two classes. One of the labels is wrong.",
        gallery(groups, len(conflicts), "groups"),
    )


def _copies(title: str, lead: str, groups: Sequence[Sequence[str]], thumbnails: Thumbnails) -> str:
    return part(title, lead, gallery([_group(paths, thumbnails) for paths in groups[:MOST_GROUPS]], len(groups), "groups"))


def _group(paths: Sequence[str], thumbnails: Thumbnails, labels: Sequence[str] | None = None) -> str:
    shown = []
    for place, path in enumerate(paths[:MOST_IN_GROUP]):
        caption = f"<span>{name(labels[place], 30)}</span>" if labels and place < len(labels) else ""
        shown.append(photo(path, thumbnails, caption, f"copy {place + 1} of {len(paths)}"))
    rest = len(paths) - len(shown)
    below = f"<p>and {plural(rest, 'copy', 'copies')} more</p>" if rest else ""
    return f'<div class="group"><div>{"".join(shown)}</div>{below}</div>'


def _files(title: str, lead: str, heads: Sequence[str], keys: Sequence[str], files: Sequence[Facts]) -> str:
    rows = [
        (f'<span class="path">{safe(short_path(one.get("path")))}</span>', *(safe(one.get(key) or "") for key in keys))
        for one in files[:MOST_FILES]
    ]
    return part(title, lead, table(heads, rows, title, "list") + more(len(files) - MOST_FILES))


def _odd(odd: Sequence[Facts], thumbnails: Thumbnails) -> str:
    figures = [
        photo(
            one.get("path"),
            thumbnails,
            f"<span>{count(one.get('width'))} × {count(one.get('height'))}</span> <span>{safe(one.get('reason') or '')}</span>",
            "picture of an odd size",
        )
        for one in odd[:MOST_GROUPS]
    ]
    return part(
        "Odd sizes",
        "Very small or very long pictures: little of them is left after they are cut to a square.",
        gallery(figures, len(odd)),
    )


def _balance(found: Facts) -> str:
    classes: list[Any] = sorted(found.get("classes") or [], key=lambda one: -(number(one.get("n")) or 0))
    if not classes:
        return ""
    most = max(number(one.get("n")) or 0 for one in classes) or 1
    shown = classes if len(classes) <= MOST_BARS else classes[: MOST_BARS // 2] + classes[-MOST_BARS // 2 :]
    rows = [(name(one.get("label"), 48), charts.bar((number(one.get("n")) or 0) / most), count(one.get("n"))) for one in shown]
    lead = (
        f"The largest class has {number(found['imbalance']):.1f} times as many pictures as the smallest."
        if number(found.get("imbalance"))
        else ""
    )
    if len(shown) < len(classes):
        lead += f" The {MOST_BARS // 2} largest and the {MOST_BARS // 2} smallest of {len(classes)} classes."
    if found.get("small_classes"):
        few = [one.get("label") if isinstance(one, dict) else one for one in found["small_classes"]]
        lead += f" Few pictures: {', '.join(name(label, 40) for label in few[:10])}{' and more' if len(few) > 10 else ''}."
    return part(
        "Pictures a class", lead, table(("Class", "", "Pictures"), rows, "Pictures of each class", "list balance", (2,))
    )
