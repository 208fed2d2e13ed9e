"""The page: one HTML file that carries its pictures, style and script, loads nothing, and may run nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources

from topwork.report import challenge, results
from topwork.report.attack import attack
from topwork.report.audit import audit
from topwork.report.charts import MARK
from topwork.report.confidence import confidence
from topwork.report.confusion import confusion
from topwork.report.finetuning import finetuning
from topwork.report.making import making
from topwork.report.parts import Thumbnails
from topwork.report.text import Facts, clip, day, safe

NAVIGATION = (
    ("warnings", "Warnings"),
    ("finetuning", "Fine-tuning"),
    ("confusion", "Confusion"),
    ("classes", "Classes"),
    ("mistakes", "Mistakes"),
    ("confidence", "Probabilities"),
    ("distance", "Distance"),
    ("curve", "More photos"),
    ("compare", "Networks"),
    ("map", "Map"),
    ("attack", "Attacks"),
    ("audit", "Pictures"),
    ("making", "How it was made"),
)


def render(facts: Facts, thumbnails: Thumbnails) -> str:
    """report.html of a classifier. Keys of `facts` that are missing or None leave their part of the page out."""
    look = functools.cache(thumbnails)
    body = "".join(
        (
            results.answer(facts),
            results.warnings(facts),
            finetuning(facts),
            confusion(facts),
            results.classes(facts),
            results.mistakes(facts, look),
            confidence(facts),
            told_of_challenge(facts),
            attack(facts, look),
            audit(facts, look),
            making(facts),
        )
    )
    return _document(facts, "Classifier report", results.opening(facts), body)


def render_challenge(facts: Facts) -> str:
    """A page of distance, curve, compare and map alone, of those that `facts` has."""
    return _document(facts, "Folder report", safe(facts.get("opening") or ""), told_of_challenge(facts))


def told_of_challenge(facts: Facts) -> str:
    """The sections of distance, curve, compare and map."""
    return challenge.distance(facts) + challenge.curve(facts) + challenge.compare(facts) + challenge.map_(facts)


def _document(facts: Facts, kicker: str, opening: str, body: str) -> str:
    """The whole page around its sections; opening and body are HTML."""
    style, script = packaged("style.css"), packaged("sort.js")
    title = safe(facts["name"])
    links = "".join(
        f'<a href="#{identity}">{word}</a>' for identity, word in NAVIGATION if f'<section id="{identity}">' in body
    )
    made = f"topwork {safe(facts.get('topwork') or '')}" + (f" · {safe(day(facts['created']))}" if facts.get("created") else "")
    # The policy names the one style and the one script by their hashes: markup that slipped through could still not run.
    own = f"style-src {allowed(style)}; script-src {allowed(script)}"
    policy = f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{safe(clip(str(facts["name"]), 60))} · {kicker.lower()}</title>
<style>{style}</style>
</head>
<body>
<header>
<p class="kicker">{MARK}{kicker}</p>
<h1{' class="long"' if len(title) > 30 else ""}><bdi>{title}</bdi></h1>
{f'<p class="opening">{opening}</p>' if opening else ""}
{f'<nav aria-label="Sections">{links}</nav>' if links else ""}
</header>
<main>
{body}</main>
<footer><p>{made}</p><p>This file is complete: it loads nothing from anywhere.</p></footer>
<script>{script}</script>
</body>
</html>
"""


@functools.cache
def packaged(file: str) -> str:
    """Text of a file that lies beside this module, in any installation."""
    return resources.files("topwork.report").joinpath(file).read_text(encoding="utf-8")


def allowed(inline: str) -> str:
    """The Content-Security-Policy source that allows exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
