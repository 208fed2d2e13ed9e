"""The model card: README.md of a bundle, in the form Hugging Face reads."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence

from topwork.report.text import (
    Facts,
    answer_sentence,
    clean,
    command,
    count,
    day,
    figure,
    headline,
    interval,
    listed,
    number,
    one_line,
    percent,
    plural,
    weakest_first,
)

MOST_CLASSES = 60
HUB_LICENCES = {
    name.lower(): name.lower()
    for name in (
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-4.0",
        "CC-BY-SA-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "CC0-1.0",
        "OpenRAIL",
        "ISC",
        "Unlicense",
    )
}
"""Licences the Hub knows by a short name; all others are `other` and carry their own."""


def model_card(facts: Facts) -> str:
    """README.md of a classifier: front matter, what it answers, how well, how it was made, where it fails."""
    name, classes = clean(facts["name"]), facts.get("classes") or []
    lead = (
        f"Tells {plural(len(classes), 'class', 'classes')} apart: {markdown(listed(classes, 12))}."
        if classes
        else "An image classifier."
    )
    score, tested = headline(facts)
    answer = [answer_sentence(score)] if score else ["No accuracy was measured."]
    if score and not tested:
        answer.append("Measured by cross-validation: there was no test part.")
    parts = (
        f"---\n{front_matter(facts)}---",
        f"# {markdown(name)}",
        f"{lead} {' '.join(answer)}",
        "The file `report.html` in this folder shows the mistakes, the confusion matrix and the audit of the pictures.",
        _use(name),
        _section("How well", _scores(facts)),
        _section("Class by class", _classes((facts.get("score") or {}).get("per_class") or [])),
        _section("Warnings", "\n".join(f"- {markdown(text)}" for text in facts.get("warnings") or [])),
        _section("Limits", _limits(facts)),
        _section("How it was made", _making(facts)),
        _section(
            "Why each choice was taken",
            "\n".join(
                f"- **{markdown(key)}**: {markdown(reason)}" for key, reason in (facts.get("reasons") or {}).items() if reason
            ),
        ),
        _section("Licence", _licence(facts)),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def front_matter(facts: Facts) -> str:
    """The YAML lines between the dashes. Every text is a double-quoted JSON string, which is YAML too."""
    score = facts.get("score") or {}
    licence = (facts.get("backbone") or {}).get("licence")
    lines = ["library_name: topwork", "pipeline_tag: image-classification"]
    if licence:
        known = HUB_LICENCES.get(clean(licence).lower())
        lines += [f"license: {known}"] if known else ["license: other", f"license_name: {quoted(licence)}"]
    lines += ["tags:", "- topwork", "- image-classification", "- transfer-learning"]
    measured = [
        (kind, number(score.get(key))) for kind, key in (("accuracy", "accuracy"), ("expected_calibration_error", "ece"))
    ]
    measured = [(kind, value) for kind, value in measured if value is not None]
    if measured:
        source = (facts.get("data") or {}).get("source") or "pictures"
        lines += [
            "model-index:",
            f"- name: {quoted(facts['name'])}",
            "  results:",
            "  - task:",
            "      type: image-classification",
        ]
        lines += [
            "    dataset:",
            f"      name: {quoted(source)}",
            "      type: imagefolder",
            "      split: test",
            "    metrics:",
        ]
        for kind, value in measured:
            lines += [f"    - type: {kind}", f"      value: {value:.6g}"]
    return "".join(f"{line}\n" for line in lines)


def quoted(value: object) -> str:
    """A text as one line of JSON, and of YAML."""
    return json.dumps(clean(value), ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def markdown(value: object) -> str:
    """A text of the user's as one line of Markdown that means nothing but itself."""
    text = one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#|~$])", r"\\\1", text)


def fenced(language: str, code: str) -> str:
    """A code block whose fence is longer than any row of backticks in it; empty without code."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 3)
    return f"{fence}{language}\n{code}\n{fence}" if code else ""


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _use(name: str) -> str:
    folder = f"{one_line(name)}.topwork"
    shell = f"topwork predict {shlex.quote(folder)} picture.jpg"
    python = (
        f'import topwork\n\nclassifier = topwork.Classifier.load({quoted(folder)})\nprint(classifier.predict(["picture.jpg"]))'
    )
    return f"## Use it\n\n{fenced('sh', shell)}\n\n{fenced('python', python)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n{body}" if body else ""


def _scores(facts: Facts) -> str:
    rows = []
    for what, key in (("accuracy on the test pictures", "score"), ("accuracy in cross-validation", "cross_validation")):
        score = facts.get(key) or {}
        if number(score.get("accuracy")) is not None:
            rows.append(
                (
                    what,
                    percent(score["accuracy"]),
                    interval(score.get("accuracy_low"), score.get("accuracy_high")),
                    count(score.get("n")),
                )
            )
    score = facts.get("score") or {}
    for what, key in (
        ("accuracy where it answers", "accuracy_answered"),
        ("pictures it answers", "coverage"),
        ("expected calibration error", "ece"),
    ):
        if number(score.get(key)) is not None:
            rows.append((what, percent(score[key]), "", count(score.get("n")) if key != "accuracy_answered" else ""))
    return _table(("measure", "value", "95 % interval", "pictures"), rows)


def _classes(rows: Sequence[Facts]) -> str:
    cells = [
        (
            markdown(row.get("label")),
            percent(row.get("recall")),
            interval(row.get("recall_low"), row.get("recall_high")),
            percent(row.get("precision")),
            percent(row.get("f1")),
            count(row.get("n")),
        )
        for row in weakest_first(rows)
    ]
    rest = f"\n\nThe {MOST_CLASSES} weakest of {len(cells)} classes." if len(cells) > MOST_CLASSES else ""
    return _table(("class", "recall", "95 % interval", "precision", "F1", "pictures"), cells[:MOST_CLASSES]) + rest


def _limits(facts: Facts) -> str:
    lines = [
        "- The figures hold for pictures like the test pictures. "
        "Other cameras, places or seasons can do worse: score it on your own before you lean on it."
    ]
    if facts.get("classes"):
        lines.append(f"- It knows {plural(len(facts['classes']), 'class', 'classes')} and nothing else.")
    if facts.get("strangers"):
        lines.append(
            "- Pictures unlike all it learned get the answer *none of these*; some strange pictures still slip through."
        )
    lines.append("- It was not made for decisions about people's health, rights or safety.")
    return "\n".join(lines)


def _making(facts: Facts) -> str:
    data, backbone, engine, head = (facts.get(key) or {} for key in ("data", "backbone", "engine", "head"))
    lines = []
    if data:
        test = f" ({markdown(data['test_from'])})" if data.get("test_from") else ""
        lines.append(f"- Pictures: {count(data.get('train'))} to learn from, {count(data.get('test'))} to test{test}.")
    kept = "fine-tuned" if (facts.get("finetune") or {}).get("taken") else "kept as it was"
    if backbone:
        lines.append(
            f"- Backbone, {kept}: {markdown(backbone.get('name') or backbone.get('id'))}, "
            f"{count(backbone.get('parameters'))} parameters, input {figure(backbone.get('input_size'))} pixels."
        )
    if backbone.get("sha256"):
        lines.append(f"- SHA-256 of its weights: {markdown(backbone['sha256'])}")
    if head:
        lines.append(f"- Head: {markdown(figure(head))}.")
    if engine:
        lines.append(f"- Engine: {markdown(engine.get('name'))} {markdown(engine.get('precision') or '')}.")
    if facts.get("topwork") or facts.get("created"):
        lines.append(
            f"- Made with topwork {markdown(facts.get('topwork') or '')}"
            + (f" on {markdown(day(facts['created']))}." if facts.get("created") else ".")
        )
    return "\n\n".join(block for block in ("\n".join(lines), fenced("sh", command(facts))) if block)


def _licence(facts: Facts) -> str:
    licence = (facts.get("backbone") or {}).get("licence")
    if not licence:
        return ""
    head = "The head was learned from your pictures: what their licence allows holds for it too."
    return f"The backbone's weights are under {markdown(licence)}. {head}"
