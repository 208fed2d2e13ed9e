"""Whether every link of a site leads somewhere, and the site needs nothing from elsewhere to be shown."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Collects the links, the resources and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: text or "" for name, text in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and "href" in found and found.get("rel") not in ("canonical", "prev", "next"):
            self.resources.append(found["href"])
        elif "src" in found:
            self.resources.append(found["src"])


@cache
def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def problems(site: Path) -> list[str]:
    """One line for each link that leads nowhere and each resource that is not in the site."""
    _read.cache_clear()
    found = []
    for file in sorted(site.rglob("*.html")):
        name, page = file.relative_to(site), _read(file)
        for link in page.resources:
            if urlsplit(link).scheme not in ("", "data") or link.startswith("//"):
                found.append(f"{name}: loads {link}, which is not in the site")
        for link in (*page.links, *page.resources):
            if (trouble := _trouble(site, file, link)) is not None and name.name != "404.html":
                found.append(f"{name}: {link}: {trouble}")
    for file in sorted(site.rglob("*.css")):
        text = file.read_text(encoding="utf-8")
        found += [
            f"{file.relative_to(site)}: loads {link}" for link in re.findall(r"url\(['\"]?((?:https?:)?//[^)'\"]+)", text)
        ]
    return found


def _trouble(site: Path, file: Path, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return "no such page"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _read(target).anchors:
        return f"no such place in {target.name}"
    return None


def markdown_problems(file: Path) -> list[str]:
    """The same for the relative links of a Markdown file, as they stand in the repository."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [target for target in targets if not urlsplit(target).scheme and not target.startswith("#")]
    return [
        f"{file.name}: {target}: no such file" for target in relative if not (file.parent / target.partition("#")[0]).exists()
    ]
