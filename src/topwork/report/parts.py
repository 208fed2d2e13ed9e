"""The pieces every section is built from: sections, tables, thumbnails."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence

from topwork.report.text import clip, count, safe, short_path

Thumbnails = Callable[[str], bytes | None]
"""A path to the bytes of a small JPEG; None when the picture is gone."""


def section(identity: str, title: str, lead: str, body: str) -> str:
    """One section of the page; empty when its body is. lead is HTML."""
    if not body:
        return ""
    intro = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{identity}"><h2>{title}</h2>{intro}{body}</section>\n'


def part(title: str, lead: str, body: str) -> str:
    """A part of a section, under a heading of its own; empty when its body is. lead is HTML."""
    if not body:
        return ""
    return f'<div class="part"><h3>{title}</h3>{f"<p>{lead}</p>" if lead else ""}{body}</div>'


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str, kind: str = "", numbers: Sequence[int] = ()
) -> str:
    """A table of ready HTML cells, the first of each row its heading; `numbers` are the columns set flush right."""
    classes = ["num" if column in numbers else "" for column in range(len(heads))]
    top = "".join(f'<th scope="col"{_class(one)}>{head}</th>' for head, one in zip(heads, classes, strict=True))
    body = "".join(
        f'<tr><th scope="row"{_class(classes[0])}>{row[0]}</th>'
        + "".join(f"<td{_class(one)}>{cell}</td>" for cell, one in zip(row[1:], classes[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    if not body:
        return ""
    head = f"<caption>{caption}</caption><thead><tr>{top}</tr></thead>"
    return scrolling(f"<table{_class(kind)}>{head}<tbody>{body}</tbody></table>", caption)


def scrolling(content: str, label: str) -> str:
    """Content that may be larger than the page, in a box that scrolls, with the mouse or the keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def pairs(entries: Iterable[tuple[str, str]], kind: str = "pairs") -> str:
    """A list of names and their values, ready HTML; those without a value are left out."""
    rows = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in entries if value)
    return f'<dl class="{kind}">{rows}</dl>' if rows else ""


def photo(path: object, thumbnails: Thumbnails, caption: str, alt: str) -> str:
    """One picture with its caption (HTML) and the end of its path; a placeholder when it is gone."""
    jpeg = thumbnails(str(path))
    where = short_path(path)
    image = '<span class="gone">picture is gone</span>'
    if jpeg:
        image = f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{safe(alt)}">'
    place = f'<span class="path" title="{safe(where)}">{safe(clip(where, 64)).replace("/", "/<wbr>")}</span>'
    return f"<figure>{image}<figcaption>{caption} {place}</figcaption></figure>"


def gallery(figures: Sequence[str], total: int, kind: str = "gallery") -> str:
    """Figures side by side, and how many more there are."""
    if not figures:
        return ""
    return f'<div class="{kind}">{"".join(figures)}</div>{more(total - len(figures))}'


def more(rest: int) -> str:
    """The line below a list that was cut."""
    return f'<p class="more">and {count(rest)} more, see <code>--json</code></p>' if rest > 0 else ""
