"""The last section: how the classifier was made, why each automatic choice was taken, and how to make it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from topwork.report import charts
from topwork.report.parts import more, pairs, part, section, table
from topwork.report.text import Facts, clean, command, count, duration, figure, number, percent, plural, safe

MOST_TRIALS = 60
CHOICES = ("view", "mirrored", "transform", "kind", "strength", "ridge", "neighbours")
"""What a trial tries."""


def making(facts: Facts) -> str:
    """Command, network, engine, head, reasons, trials, settings, times and versions."""
    again, materials = command(facts), "".join(_materials(facts))
    parts = (
        part("Make it again", "", f'<pre tabindex="0"><code>{safe(again)}</code></pre>' if again else ""),
        f'<div class="columns">{materials}</div>' if materials else "",
        _reasons(facts.get("reasons") or {}),
        _trials(facts.get("trials") or []),
        _times((facts.get("timings") or {}).get("steps") or {}),
    )
    return section("making", "How it was made", "", "".join(parts))


def _materials(facts: Facts) -> Sequence[str]:
    data, backbone, engine, head, machine = (facts.get(key) or {} for key in ("data", "backbone", "engine", "head", "machine"))
    network = " · ".join(dict.fromkeys(clean(backbone[key]) for key in ("id", "name") if backbone.get(key)))
    size = number(backbone.get("input_size"))
    versions = {"topwork": facts.get("topwork"), "python": machine.get("python"), **(machine.get("versions") or {})}
    test = " · ".join(value for value in (_count(data, "test"), _text(data, "test_from")) if value)
    return (
        part(
            "Pictures",
            "",
            pairs(
                (
                    ("From", _text(data, "source")),
                    ("Pictures", _count(data, "pictures")),
                    ("Train", _count(data, "train")),
                    ("Test", test),
                )
            ),
        ),
        part(
            "Backbone, fine-tuned" if (facts.get("finetune") or {}).get("taken") else "Backbone, kept as it was",
            "",
            pairs(
                (
                    ("Network", safe(network)),
                    ("Licence", _text(backbone, "licence")),
                    ("Parameters", _count(backbone, "parameters")),
                    ("Input", f"{size:.0f} × {size:.0f} pixels" if size else ""),
                    ("SHA-256", f"<code>{_text(backbone, 'sha256')}</code>" if backbone.get("sha256") else ""),
                )
            ),
        ),
        part(
            "Head, grafted on",
            "",
            pairs(
                (key.capitalize(), _text(head, key))
                for key in dict.fromkeys([*CHOICES, *head])
                if _tried(head, key) is not None
            ),
        ),
        part(
            "Engine",
            "",
            pairs(
                (
                    ("Name", _text(engine, "name")),
                    ("Precision", _text(engine, "precision")),
                    ("Reason", _text(engine, "reason")),
                )
            ),
        ),
        part("Machine", "", pairs((("Processor", _text(machine, "cpu")), ("Cores", _count(machine, "cores"))))),
        part("Versions", "", pairs((safe(key), safe(value)) for key, value in versions.items() if value)),
        part("Settings", "", pairs((safe(key), safe(figure(value))) for key, value in (facts.get("settings") or {}).items())),
    )


def _text(facts: Facts, key: str) -> str:
    value = facts.get(key)
    return "" if value is None else safe(figure(value))


def _count(facts: Facts, key: str) -> str:
    return count(facts[key]) if number(facts.get(key)) is not None else ""


def _reasons(reasons: Facts) -> str:
    rows = [(safe(choice.replace("_", " ")), safe(figure(reason))) for choice, reason in reasons.items() if reason]
    return part(
        "Why each choice was taken",
        "What was not set by hand was chosen by these rules.",
        table(("Choice", "Reason"), rows, "Every automatic choice and its reason", "list"),
    )


def _trials(trials: Sequence[Any]) -> str:
    ranked = sorted(trials, key=lambda trial: (-(number(trial.get("accuracy")) or 0.0), number(trial.get("log_loss")) or 0.0))
    keys = [key for key in CHOICES if any(_tried(trial, key) is not None for trial in trials)]
    rows = []
    for trial in ranked[:MOST_TRIALS]:
        cells = [safe(figure(_tried(trial, key))) for key in keys]
        rows.append(
            [
                ("✓" if trial.get("taken") else "") + f"<span>{cells[0] if cells else ''}</span>",
                *cells[1:],
                percent(trial.get("accuracy")),
                figure(number(trial.get("log_loss"))),
            ]
        )
    heads = [key.capitalize() for key in keys or ["trial"]] + ["Accuracy", "Log loss"]
    numbers = (len(heads) - 2, len(heads) - 1)
    drawn = table(heads, rows, "Heads that were tried", "list trials" + (" long" if len(rows) > 20 else ""), numbers)
    lead = f"{plural(len(trials), 'head')} compared on held-out parts of the train pictures; ✓ is the one that was taken."
    return part("What was tried", lead, drawn + more(len(trials) - MOST_TRIALS))


def _tried(trial: Facts, key: str) -> Any:
    """What a trial tried; None where its kind of head has no such thing: a discriminant's L2 strength is its partner's."""
    value = trial.get(key)
    strange = key == "strength" and trial.get("kind") not in ("logistic", "blend")
    return None if strange or (key in CHOICES[-3:] and not value) else value


def _times(steps: Facts) -> str:
    whole = sum(number(value) or 0.0 for value in steps.values()) or 1.0
    rows = [(safe(step), charts.bar((number(value) or 0.0) / whole), duration(value)) for step, value in steps.items()]
    return part("Where the time went", "", table(("Step", "", "Time"), rows, "Seconds of each step", "list balance", (2,)))
