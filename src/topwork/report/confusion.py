"""The section about which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from topwork.report import charts
from topwork.report.parts import more, part, scrolling, section, table
from topwork.report.text import Facts, clean, count, name, percent, safe

LARGEST_MATRIX = 40
"""Classes. With more, a matrix of numbers is too large to read: a heat map and a list stand in for it."""
MOST_PAIRS = 8
MOST_PAIRS_WITHOUT_MATRIX = 16
SHADES = 6
"""Steps of the matrix's colours, which stand in style.css."""


def confusion(facts: Facts) -> str:
    """Which classes are taken for which: a matrix, or a small heat map and a list where there are too many for a matrix."""
    rows = (facts.get("score") or {}).get("confusion")
    if not rows or any(len(row) != len(rows) for row in rows):
        return ""
    counts = np.asarray(rows, float)  # (K, K): row the true class, column the answer
    given = facts.get("classes") or []
    labels = [clean(label) for label in given] if len(given) == len(counts) else [f"class {k}" for k in range(len(counts))]
    large = len(labels) > LARGEST_MATRIX
    listing = _confused(counts, labels, MOST_PAIRS_WITHOUT_MATRIX if large else MOST_PAIRS)
    if large:
        alt = f"Heat map of the confusion matrix of {len(labels)} classes; its largest errors are listed beside it."
        note = f"All {len(labels)} classes, in the classifier's own order."
        image = f'<img src="{charts.heat_picture(counts)}" alt="{alt}">'
        body = _beside(f'<figure class="heat">{image}<figcaption>{note}</figcaption></figure>', listing)
    elif len(labels) > 4:
        body = _matrix(counts, labels) + part("Most often confused", "", listing)
    else:
        body = _beside(_matrix(counts, labels), listing)
    lead = (
        "A row is what the pictures are, a column what the classifier said. "
        "Green is right, rust is wrong; the stronger the colour, the larger its share of the row."
    )
    return section("confusion", "What is taken for what", lead, body)


def _beside(drawn: str, listing: str) -> str:
    return f'<div class="beside">{drawn}<div>{listing or "<p>No picture was taken for another class.</p>"}</div></div>'


def _matrix(counts: NDArray[np.float64], labels: Sequence[str]) -> str:
    classes = len(labels)
    size = "few" if classes <= 4 else "some" if classes <= 16 else "many"
    totals = np.maximum(counts.sum(1), 1)
    heads = "".join(f'<th scope="col" title="{safe(label)}"><span>{name(label, 24)}</span></th>' for label in labels)
    body = []
    for row, label in enumerate(labels):
        cells = []
        for column in range(classes):
            n = counts[row, column]
            if not n:
                cells.append("<td></td>")
                continue
            share = float(n / totals[row])
            shade = max(1, min(SHADES, round(SHADES * (share if row == column else share**0.5))))
            said = f' title="{safe(label)}, said {safe(labels[column])}"' if row != column else ""
            cells.append(f'<td class="{"g" if row == column else "w"}{shade}"{said}>{n:.0f}</td>')
        body.append(f'<tr><th scope="row" title="{safe(label)}">{name(label, 28)}</th>{"".join(cells)}</tr>')
    caption = "Confusion matrix: counts of test pictures. An empty cell is 0."
    corner = '<td class="corner">is ↓ said →</td>'
    head = f"<caption>{caption}</caption><thead><tr>{corner}{heads}</tr></thead>"
    return scrolling(f'<table class="matrix {size}">{head}<tbody>{"".join(body)}</tbody></table>', caption)


def _confused(counts: NDArray[np.float64], labels: Sequence[str], most: int) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    totals = counts.sum(1)
    found = [(int(r), int(c)) for r, c in zip(*np.nonzero(wrong), strict=True)]
    found.sort(key=lambda at: (-wrong[at], totals[at[0]], at))
    rows = [
        (name(labels[r], 40), name(labels[c], 40), f"{count(n)} of {count(of)}", percent(n / of, 0))
        for r, c, n, of in ((r, c, wrong[r, c], totals[r]) for r, c in found[:most])
    ]
    caption = "The pairs of classes confused most often"
    return table(("Is", "Said", "Pictures", "Share"), rows, caption, "list", (2, 3)) + more(len(found) - most)
