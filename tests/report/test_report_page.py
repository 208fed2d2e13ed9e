from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from topwork.report import render
from topwork.report.attack import controls
from topwork.report.page import packaged
from topwork.report.results import MOST_MISTAKES

Facts = dict[str, Any]
Thumbnails = Callable[[str], bytes | None]
VOID = {"meta", "img", "wbr", "br", "hr", "input", "link"}
ATTACK = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """Reads a page as a strict reader would: every element closed in order, every attribute once, every id once."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [key for key, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        if tag == "p":
            assert "p" not in self.open
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()
        if tag not in ("span", "strong", "bdi", "code"):
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\xa0", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check(text: str) -> Page:
    """A page that is well formed, complete in itself and usable without eyes."""
    assert text.startswith("<!DOCTYPE html>")
    text.encode("utf-8")
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert not page.all("link") and not page.all("iframe") and not page.all("object")
    assert len(page.all("script")) == 1 and not page.all("script")[0]
    assert len(page.all("style")) == 1 and len(page.all("h1")) == 1
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], (tag, attributes)
        for key in ("src", "srcset", "href", "action", "data", "xlink:href"):
            value = attributes.get(key) or ""
            assert not value or value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#")), (
                tag,
                key,
                value[:80],
            )
            if value.startswith("#"):
                assert value[1:] in ids
    assert "url(http" not in text and "@import" not in text and "//cdn" not in text
    assert all(attributes.get("alt") for attributes in page.all("img"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label")), svg
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    return page


@pytest.mark.parametrize("count", [2, 3, 10, 37, 40, 41, 200])
def test_a_page_of_any_number_of_classes_is_whole_and_not_too_large(
    make_facts: Callable[..., Facts], thumbnails: Thumbnails, count: int
) -> None:
    facts = make_facts([f"class {number}" for number in range(count)])
    text = render(facts, lambda path: None)
    page = check(text)
    assert len(text) < 400_000
    matrix = any("matrix" in (table.get("class") or "") for table in page.all("table"))
    assert matrix == (count <= 40)
    assert "What is taken for what" in page.text
    assert "picture is gone" in page.text
    check(render(facts, thumbnails))


def test_the_answer_comes_first_in_numbers_and_in_words(facts: Facts, thumbnails: Thumbnails) -> None:
    facts["score"].update(accuracy=0.992, accuracy_low=0.981, accuracy_high=0.997, n=600)
    page = check(render(facts, thumbnails))
    assert "99.2 % of 600 test pictures right" in page.text
    assert "About 8 of 1,000 such pictures come out wrong, at least 3 and at most 19." in page.text
    order = [
        page.text.rindex(words)
        for words in (
            "99.2 %",
            "has only 18",
            "What is taken",
            "Class by class",
            "surest mistakes",
            "be believed",
            "it learned from",
            "How it was made",
        )
    ]
    assert order == sorted(order)
    assert "topwork fit photos/ -o pets.topwork -b lite0 --seed 0" in page.text
    assert "openvino 2026.4.1" in page.text and "Apache-2.0" in page.text
    said = facts["score"]["mistakes"][0]
    assert f"said {said['predicted']} 98 % is {said['label']}" in page.text


def test_words_of_the_user_stay_words(make_facts: Callable[..., Facts], thumbnails: Thumbnails) -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return value + ATTACK
        if isinstance(value, list):
            return [poison(entry) for entry in value]
        return (
            {key + (ATTACK if key in ("openvino", "seed", "head") else ""): poison(entry) for key, entry in value.items()}
            if isinstance(value, dict)
            else value
        )

    for classes in (["cat", "dog"], [f"class {number}" for number in range(45)]):
        text = render(poison(make_facts(classes)), thumbnails)
        page = check(text)
        assert "<script>alert" not in text and "<img src=x" not in text
        assert len(page.all("bdi")) > 4
        assert "alert('x')" in page.text


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(facts: Facts, thumbnails: Thumbnails) -> None:
    text = render(facts, thumbnails)
    policy = next(
        meta["content"] or "" for meta in check(text).all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag in ("style", "script"):
        inline = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_part_may_be_missing(make_facts: Callable[..., Facts], thumbnails: Thumbnails) -> None:
    facts = make_facts(["cat", "dog"], per_class=5)
    page = check(render({"name": "bare"}, thumbnails))
    assert "No accuracy was measured" in page.text and len(page.all("section")) == 1
    for key in facts:
        if key == "name":
            continue
        check(render({k: v for k, v in facts.items() if k != key}, thumbnails))
        check(render({**facts, key: None}, thumbnails))
        if isinstance(facts[key], dict):
            check(render({**facts, key: {}}, thumbnails))
            for inner in facts[key]:
                rest = {k: v for k, v in facts[key].items() if k != inner}
                check(render({**facts, key: rest}, thumbnails))
                check(render({**facts, key: {**rest, inner: None}}, thumbnails))
    for key in ("trials", "warnings", "classes"):
        check(render({**facts, key: []}, thumbnails))
    empty: list[list[Facts]] = [[{}], [{"path": None}]]
    for entries in empty:
        inner = dict.fromkeys(
            ("broken", "leaks", "suspect_labels", "odd_sizes", "label_conflicts", "classes", "extension_mismatches"), entries
        )
        check(
            render(
                {
                    "name": "x",
                    "score": {"mistakes": entries, "per_class": entries, "reliability": entries},
                    "audit": inner,
                    "trials": entries,
                },
                thumbnails,
            )
        )


def test_cross_validation_stands_in_for_a_missing_score(facts: Facts, thumbnails: Thumbnails) -> None:
    page = check(render({**facts, "score": None}, thumbnails))
    assert "90.0 % of 120 pictures right, in cross-validation" in page.text
    assert "tested on" not in page.text


def test_the_same_facts_give_the_same_bytes_and_come_back_unchanged(facts: Facts, thumbnails: Thumbnails) -> None:
    before = json.dumps(facts)
    assert render(facts, thumbnails) == render(json.loads(before), thumbnails)
    assert json.dumps(facts) == before


def test_strange_letters_do_not_stop_the_page(make_facts: Callable[..., Facts], thumbnails: Thumbnails) -> None:
    facts = make_facts(["caf\udce9", "nul\x00 and esc\x1b[31m", "\u202eright to left", "漢字" * 60, "line\nbreak", "W" * 500])
    text = render(facts, thumbnails)
    check(text)
    assert "\x00" not in text and "\x1b" not in text and "caf\\udce9" in text


def test_lists_are_cut_and_say_so_and_each_picture_is_asked_for_once(facts: Facts) -> None:
    asked: list[str] = []
    facts["score"]["mistakes"] = [
        {"path": f"{n}.jpg", "label": "cat", "predicted": "dog", "probability": 0.9} for n in range(58)
    ]
    facts["audit"]["duplicates"] = [[f"a{n}.jpg", f"b{n}.jpg"] for n in range(46)]
    page = check(render(facts, lambda path: asked.append(path)))
    assert "and 34 more, see --json" in page.text
    facts["score"]["confusion"] = [[100, 300], [0, 50]]  # of which only the surest are listed
    assert "and 276 more, see --json" in check(render(facts, lambda path: None)).text
    assert len(asked) == len(set(asked)) <= MOST_MISTAKES + 24 + 4
    assert "24.jpg" not in asked


def test_a_class_without_test_pictures_is_not_called_unknown(facts: Facts, thumbnails: Thumbnails) -> None:
    nothing = {"label": "unseen", "n": 0, "precision": None, "recall": None, "recall_low": None, "recall_high": None, "f1": 0.0}
    facts["score"]["per_class"].insert(0, nothing)
    text = check(render(facts, thumbnails)).text
    assert re.search(r"unseen\s+0\s+–", text)


def test_what_was_taken_is_marked(facts: Facts, thumbnails: Thumbnails) -> None:
    text = check(render(facts, thumbnails)).text
    assert text.count("✓") == 2  # one in the sentence above


def test_a_kind_of_head_shows_what_it_has(facts: Facts, thumbnails: Thumbnails) -> None:
    facts["head"] |= {"kind": "discriminant", "strength": 3.5, "ridge": 0.25}
    facts["trials"] = [{**facts["trials"][0], **facts["head"], "neighbours": 0}]
    text = check(render(facts, thumbnails)).text
    assert "3.5" not in text and text.count("0.25") == 2 and "Neighbours" not in text


def test_no_home_folder_is_given_away(facts: Facts, thumbnails: Thumbnails) -> None:
    text = render(facts, thumbnails)
    assert "cat/0.jpg" in text and "/home" not in text and "ann" not in Page(text).text.split("/")


def test_letters_can_be_read_in_light_and_in_dark() -> None:
    """WCAG AA: contrast 4.5 for text, also on the shades of the confusion matrix."""
    style = packaged("style.css")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (\d+ \d+ \d+);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    shades = re.findall(r"td\.([gw])(\d) \{ background: rgb\(var\(--(\w+)\)(?: / ([.\d]+))?\)", style)
    assert len(shades) == 12

    for palette in (light, light | dark):
        colour = {key: [int(part) for part in value.split()] for key, value in palette.items()}
        for text in ("ink", "muted", "accent", "wrong"):
            assert contrast(colour[text], colour["paper"]) >= 4.5
            assert contrast(colour[text], colour["card"]) >= 4.5
        for _, step, base, alpha in shades:
            share = float(alpha or 1)
            ground = [share * a + (1 - share) * b for a, b in zip(colour[base], colour["paper"], strict=True)]
            assert contrast(colour["strong-text" if int(step) > 4 else "ink"], ground) >= 4.5, (base, step)


def contrast(one: list[int], other: list[float] | list[int]) -> float:
    def light(colour: list[int] | list[float]) -> float:
        red, green, blue = (
            v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in colour)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_what_a_failed_control_means_is_told_only_then() -> None:
    passed = {"name": "noise does less", "measured": "16 of 16", "passed": True, "meaning": "the attack is weak"}
    assert "What it means" not in controls({"controls": [passed]})
    told = controls({"controls": [passed, {**passed, "passed": False}]})
    assert "What it means" in told and told.count("the attack is weak") == 1
