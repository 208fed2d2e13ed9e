"""Words and numbers as the report and the model card print them."""

from __future__ import annotations

import html
import math
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Facts = Mapping[str, Any]

SPACE = "\u00a0"
"""Between a number and its unit: no line breaks there."""
NOTHING = "–"
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def clean(value: object) -> str:
    """Text that every UTF-8 writer, HTML parser and YAML parser takes: no lone surrogates, no control characters."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]", "\ufffd", text)


def safe(value: object) -> str:
    """Text for an HTML element or a quoted attribute."""
    return html.escape(clean(value), quote=True)


def one_line(value: object) -> str:
    """The text with every run of white space as one space."""
    return re.sub(r"\s+", " ", clean(value)).strip()


def name(value: object, longest: int = 0) -> str:
    """HTML of a class name, cut when longer than `longest`; isolated, so that right-to-left names move no neighbours."""
    text = clip(clean(value), longest) if longest else clean(value)
    breaks = re.sub(r"([_./-])(?=.)", r"\1<wbr>", html.escape(text))  # behind its own separators rather than anywhere
    return f"<bdi>{breaks if len(text) > 10 else html.escape(text)}</bdi>"


def clip(text: str, longest: int) -> str:
    """The text in at most `longest` columns, its middle left out where it is longer. East Asian letters take two."""
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= longest:
        return text
    front, back, room = 0, len(text), longest - 1
    while room > 0 and front < back:
        room -= widths[front]
        front += 1
        if room > 0:
            back -= 1
            room -= widths[back]
    return f"{text[:front]}…{text[back:]}"


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: object, digits: int = 1) -> str:
    """A share as per cent. Only a true 1 prints as 100 and only a true 0 as 0."""
    share = number(value)
    if share is None:
        return NOTHING
    while digits < 4 and 0 < share < 1 and float(f"{share * 100:.{digits}f}") in (0.0, 100.0):
        digits += 1
    if share in (0.0, 1.0):
        digits = 0
    return f"{share * 100:.{digits}f}{SPACE}%"


def probability(value: object) -> str:
    """A probability as whole per cent; `over 99 %` where rounding would claim certainty."""
    share = number(value)
    if share is None:
        return NOTHING
    return f"over 99{SPACE}%" if 0.995 <= share < 1 else f"{share * 100:.0f}{SPACE}%"


def interval(low: object, high: object) -> str:
    """`98.1 to 99.7 %`; empty when an end is missing."""
    ends = number(low), number(high)
    if ends[0] is None or ends[1] is None:
        return ""
    return f"{percent(ends[0]).removesuffix(f'{SPACE}%')} to {percent(ends[1])}"


def count(value: object) -> str:
    """A whole number with thousands separators."""
    amount = number(value)
    return NOTHING if amount is None else f"{amount:,.0f}"


def plural(amount: object, one: str, many: str = "") -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{count(amount)} {one if number(amount) == 1 else many or one + 's'}"


def figure(value: object) -> str:
    """Any plain value as short text: 4 significant digits, yes and no, lists joined."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {figure(entry)}" for key, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(figure(entry) for entry in value)
    return clean(value)


def duration(value: object) -> str:
    """Seconds as a person says them: 0.4 s, 13 s, 4 min 10 s, 2 h 05 min."""
    seconds = number(value)
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s" if seconds < 9.95 else f"{seconds:.0f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    return f"{minutes // 60}{SPACE}h {minutes % 60:02d}{SPACE}min"


def day(value: object) -> str:
    """`24 November 2026` of an ISO date; the text itself when it is none."""
    try:
        date = datetime.fromisoformat(str(value))
    except ValueError:
        return clean(value)
    return f"{date.day} {MONTHS[date.month - 1]} {date.year}"


def short_path(path: object) -> str:
    """The last two parts of a path: enough to find the picture, and nobody's home folder in a file that is passed on."""
    return "/".join([part for part in re.split(r"[\\/]", clean(path)) if part][-2:])


def listed(labels: Sequence[object], most: int = 6) -> str:
    """`cat, dog and bird`, or `cat, dog, ... and 12 more`."""
    shown = [clip(clean(label), 40) for label in labels[:most]]
    if len(labels) > most:
        return f"{', '.join(shown)} and {len(labels) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


@dataclass(frozen=True)
class WrongOf:
    """How many of `base` pictures come out wrong."""

    base: int
    """100, 1,000 or 10,000: the coarsest that still tells the interval."""
    about: int
    least: int | None
    most: int | None


def wrong_of(score: Facts) -> WrongOf | None:
    """An accuracy and its interval as counts of wrong pictures; None without an accuracy."""
    accuracy, low, high = (number(score.get(key)) for key in ("accuracy", "accuracy_low", "accuracy_high"))
    if accuracy is None:
        return None
    worst = 1 - (accuracy if low is None else low)
    base = 100 if 1 - accuracy >= 0.1 else 1000 if worst >= 0.002 or accuracy == 1 else 10_000
    # Rounded outwards: whole pictures must not make the interval narrower than it is.
    least = None if high is None else math.floor(round((1 - high) * base, 6))
    most = None if low is None else math.ceil(round((1 - low) * base, 6))
    return WrongOf(base, round((1 - accuracy) * base), least, most)


def answer_sentence(score: Facts) -> str:
    """What an accuracy means in plain words; empty without one."""
    wrong = wrong_of(score)
    if wrong is None:
        return ""
    bounds = "" if wrong.least is None or wrong.most is None else f", at least {wrong.least:,} and at most {wrong.most:,}"
    if number(score.get("accuracy")) == 1:
        seen = "of the test pictures" if number(score.get("n")) is None else f"of {plural(score['n'], 'test picture')}"
        return f"None {seen} came out wrong" + (
            f"; of {wrong.base:,} such pictures at most {wrong.most:,} would." if bounds else "."
        )
    verb = "comes" if wrong.about == 1 else "come"
    return f"About {wrong.about:,} of {wrong.base:,} such pictures {verb} out wrong{bounds}."


def weakest_first(rows: Sequence[Facts]) -> list[Facts]:
    """Scores of classes by recall; those without test pictures, of which nothing is known, last."""
    return sorted(rows, key=lambda row: math.inf if number(row.get("recall")) is None else float(row["recall"]))


def headline(facts: Facts) -> tuple[Facts, bool]:
    """The score to show first, and whether it is the test score; cross-validation stands in for a missing one."""
    for key in ("score", "cross_validation"):
        score = facts.get(key) or {}
        if number(score.get("accuracy")) is not None:
            return score, key == "score"
    return {}, False


def command(facts: Facts) -> str:
    """The command that makes the classifier again, on one line; empty when nobody knows from which pictures it was made."""
    source = (facts.get("data") or {}).get("source")
    if facts.get("command") is not None or not source:  # empty: no one command makes it
        return one_line(facts.get("command") or "")
    words = ["topwork", "fit", clean(source), "-o", f"{clean(facts['name'])}.topwork"]
    settings = facts.get("settings") or {}
    given = {
        "--test": (facts.get("data") or {}).get("test_source"),
        "-b": (facts.get("backbone") or {}).get("id"),
        "--weights": settings.get("weights"),
        "--seed": settings.get("seed"),
        "--test-share": settings.get("test_share"),
    }
    usual = {"--weights": "pretrained", "--test-share": 0.2}
    for option, value in given.items():
        words += [option, clean(value)] if value is not None and value != usual.get(option) else []
    return one_line(shlex.join(words))
