"""The top of the page: the answer, the warnings, each class, and the surest mistakes."""

from __future__ import annotations

from topwork.report import charts
from topwork.report.parts import Thumbnails, gallery, pairs, photo, section, table
from topwork.report.text import (
    Facts,
    answer_sentence,
    count,
    duration,
    headline,
    interval,
    listed,
    name,
    number,
    percent,
    plural,
    probability,
    safe,
    weakest_first,
    wrong_of,
)

MOST_MISTAKES = 24
LONG_TABLE = 40
"""Rows. A longer table scrolls in a box of its own."""


def answer(facts: Facts) -> str:
    """The section on top: how often it is right, drawn and in words."""
    score, tested = headline(facts)
    wrong = wrong_of(score)
    classes = facts.get("classes") or []
    if wrong is None:
        body = '<p class="sentence">No accuracy was measured: there is no telling how often this classifier is right.</p>'
        return f'<section id="answer">{body}{_tiles(facts)}</section>\n'
    of = f"of {plural(score['n'], 'test picture' if tested else 'picture')}" if number(score.get("n")) is not None else ""
    right = f"{of} right" + ("" if tested else ", in cross-validation")
    big = f'<p class="big"><strong>{percent(score["accuracy"])}</strong> <span>{right}</span></p>'
    rows: list[tuple[str, Facts]] = [
        ("Test pictures", facts.get("score") or {}),
        ("Cross-validation", facts.get("cross_validation") or {}),
    ]
    drawn = charts.intervals(rows, 1 / len(classes) if classes else None)
    note = "The bar is the 95 % interval: where the true share of right answers lies, for pictures like these."
    dots = f'{charts.orchard(wrong)}<p class="legend">{_legend(wrong.base, wrong.least is not None)}</p>'
    words = f'<p class="sentence">{answer_sentence(score)}</p>'
    left = f"<div>{big}{words}<figure>{drawn}<figcaption>{note}</figcaption></figure></div>"
    return f'<section id="answer"><div class="answer">{left}<div>{dots}</div></div>{_tiles(facts)}</section>\n'


def _legend(base: int, doubt: bool) -> str:
    kinds = [("sour", "wrong"), *([("doubt", "may be wrong")] if doubt else []), ("sweet", "right")]
    keys = " ".join(f'<span><i class="key {kind}"></i>{word}</span>' for kind, word in kinds)
    return f"<span>{base:,} pictures:</span> {keys}"


def _tiles(facts: Facts) -> str:
    score, data, timings = (facts.get(key) or {} for key in ("score", "data", "timings"))
    tiles = [("Classes", count(len(facts["classes"])))] if facts.get("classes") else []
    if number(data.get("train")) is not None:
        tiles.append(("Learned from", plural(data["train"], "picture")))
    if number(timings.get("seconds")) is not None:
        rate = None if timings.get("stored") else number(timings.get("images_per_second"))
        tiles.append(
            ("Made in", duration(timings["seconds"]) + (f"<small>{rate:,.0f} pictures a second</small>" if rate else ""))
        )
    if number(score.get("coverage")) is not None:
        known = "of pictures of known classes"
        if number(score.get("accuracy_answered")) is not None:
            known += f"; right in {percent(score['accuracy_answered'])} of those"
        tiles.append(("Answers", f"{percent(score['coverage'])}<small>{known}</small>"))
    if number(score.get("ece")) is not None:
        tiles.append(("Calibration error", f"{percent(score['ece'])}<small>mean gap between stated and true</small>"))
    return pairs(tiles, "tiles")


def warnings(facts: Facts) -> str:
    """What the maker of the classifier ought to know before trusting it."""
    items = "".join(f"<li>{safe(text)}</li>" for text in facts.get("warnings") or [])
    return section("warnings", "Before you trust it", "", f'<ul class="warnings">{items}</ul>' if items else "")


def classes(facts: Facts) -> str:
    """How well each class is known, the weakest first."""
    rows = weakest_first((facts.get("score") or {}).get("per_class") or [])
    cells = []
    for row in rows:
        recall, low, high = row.get("recall"), row.get("recall_low"), row.get("recall_high")
        cells.append(
            (
                name(row.get("label"), 64),
                count(row.get("n")),
                percent(recall),
                charts.bar(recall, low, high),
                interval(low, high),
                percent(row.get("precision")),
                percent(row.get("f1")),
            )
        )
    heads = ("Class", "Pictures", "Recall", "0 to 100 %", "95 % interval", "Precision", "F1")
    drawn = table(
        heads,
        cells,
        "Recall, precision and F1 of each class",
        "list sortable" + (" long" if len(cells) > LONG_TABLE else ""),
        (1, 2, 4, 5, 6),
    )
    lead = (
        "Recall: of the pictures that are this class, how many were found. "
        "Precision: of the answers that named it, how many were right. The weakest come first."
    )
    return section("classes", "Class by class", lead, drawn)


def mistakes(facts: Facts, thumbnails: Thumbnails) -> str:
    """The wrong answers the classifier was surest of."""
    wrong = (facts.get("score") or {}).get("mistakes") or []
    figures = [
        photo(
            one.get("path"),
            thumbnails,
            f'<span class="said">said {name(one.get("predicted"), 40)} {probability(one.get("probability"))}</span> '
            f"<span>is {name(one.get('label'), 40)}</span>",
            f"picture of class {one.get('label')}, said {one.get('predicted')}",
        )
        for one in wrong[:MOST_MISTAKES]
    ]
    lead = (
        "The wrong answers it was surest of. Look here first: some will be hard pictures, "
        "some will be wrong labels, and some will show what it did not learn."
    )
    return section("mistakes", "Its surest mistakes", lead, gallery(figures, _number_wrong(facts)))


def _number_wrong(facts: Facts) -> int:
    """How many test pictures were answered wrong: only the surest of them are listed."""
    score = facts.get("score") or {}
    matrix = score.get("confusion") or []
    rest = sum(int(sum(row) - row[place]) for place, row in enumerate(matrix))
    return max(rest, len(score.get("mistakes") or []))


def opening(facts: Facts) -> str:
    """The line under the title: what it tells apart and what it learned from."""
    known = facts.get("classes") or []
    data = facts.get("data") or {}
    parts = []
    if known:
        parts.append(f"Tells {plural(len(known), 'class', 'classes')} apart: {safe(listed(known))}.")
    if number(data.get("train")) is not None:
        tested = f", tested on {count(data['test'])} others" if number(data.get("test")) and facts.get("score") else ""
        parts.append(f"Learned from {plural(data['train'], 'picture')}{tested}.")
    return " ".join(parts)
