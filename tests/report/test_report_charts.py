from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from topwork.report import charts
from topwork.report.text import (
    WrongOf,
    answer_sentence,
    clip,
    command,
    duration,
    interval,
    listed,
    name,
    percent,
    probability,
    short_path,
    wrong_of,
)


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.992, "99.2 %"),
        (1.0, "100 %"),
        (1, "100 %"),
        (0.9999, "99.99 %"),
        (0.0002, "0.02 %"),
        (0.0, "0 %"),
        (None, "–"),
        (float("nan"), "–"),
        (True, "–"),
    ],
)
def test_only_a_true_one_prints_as_a_hundred(share: float | None, words: str) -> None:
    assert plain(percent(share)) == words


def test_words_and_numbers() -> None:
    assert [plain(probability(p)) for p in (0.98, 0.997, 1.0)] == ["98 %", "over 99 %", "100 %"]
    assert plain(interval(0.981, 0.997)) == "98.1 to 99.7 %" and interval(None, 0.9) == ""
    assert [plain(duration(s)) for s in (0.42, 13.2, 250, 7500)] == ["0.4 s", "13 s", "4 min 10 s", "2 h 05 min"]
    assert (
        listed(["cat"]) == "cat"
        and listed(["cat", "dog"]) == "cat and dog"
        and listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    )
    assert short_path("C:\\Users\\ann\\photos\\cat\\1.jpg") == "cat/1.jpg"
    assert name("american_pit_bull") == "<bdi>american_<wbr>pit_<wbr>bull</bdi>"
    assert command({"name": "a b", "data": {"source": "my photos/"}}) == "topwork fit 'my photos/' -o 'a b.topwork'"
    assert command({"name": "a b", "data": {"source": "my photos/"}, "command": ""}) == ""  # fine-tuned: no one command
    assert command({"name": "a"}) == ""
    facts = {
        "name": "a",
        "data": {"source": "p", "test_source": "t"},
        "settings": {"weights": "w.safetensors", "test_share": 0.2},
    }
    assert command(facts) == "topwork fit p -o a.topwork --test t --weights w.safetensors"


def test_clip_keeps_both_ends_and_counts_wide_letters_twice() -> None:
    assert clip("abcdefghij", 10) == "abcdefghij"
    assert clip("abcdefghijk", 7) == "abc…ijk"
    assert clip("漢字漢字漢字", 12) == "漢字漢字漢字" and len(clip("漢字漢字漢字漢", 9)) <= 6


@pytest.mark.parametrize(
    ("accuracy", "low", "high", "expected"),
    [
        (0.992, 0.981, 0.997, WrongOf(1000, 8, 3, 19)),
        (0.801, 0.787, 0.813, WrongOf(100, 20, 18, 22)),  # outwards: 18.7 to 21.3
        (1.0, 0.9936, 1.0, WrongOf(1000, 0, 0, 7)),
        (0.9995, 0.9989, 0.9998, WrongOf(10_000, 5, 2, 11)),
        (0.9, None, None, WrongOf(1000, 100, None, None)),
    ],
)
def test_wrong_pictures_are_rounded_outwards(accuracy: float, low: float | None, high: float | None, expected: WrongOf) -> None:
    assert wrong_of({"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}) == expected
    assert charts.orchard(expected).count("<pattern") == 3


def test_sentences() -> None:
    perfect = {"accuracy": 1.0, "accuracy_low": 0.9936, "accuracy_high": 1.0, "n": 600}
    assert answer_sentence(perfect) == "None of 600 test pictures came out wrong; of 1,000 such pictures at most 7 would."
    assert answer_sentence({"accuracy": 0.999, "accuracy_low": 0.99}) == "About 1 of 1,000 such pictures comes out wrong."
    assert answer_sentence({}) == ""


@pytest.mark.parametrize("end", [0, 1, 19, 20, 21, 50, 100])
@pytest.mark.parametrize("begin", [0, 7, 20])
def test_the_dots_add_up(begin: int, end: int) -> None:
    cells = [(x + i, y + j) for x, y, w, h in charts._runs(begin, end, 20) for j in range(h) for i in range(w)]
    assert sorted(y * 20 + x for x, y in cells) == list(range(begin, end))


def test_the_interval_bar_stands_where_its_numbers_say() -> None:
    svg = charts.intervals([("Test pictures", {"accuracy": 0.96, "accuracy_low": 0.94, "accuracy_high": 0.98}), ("none", {})])
    root = ElementTree.fromstring(svg)  # noqa: S314
    band, dot = (next(one for one in root.iter() if one.get("class") == kind) for kind in ("band", "dot"))
    assert (band.get("x"), band.get("width"), dot.get("cx")) == ("40.0%", "40.000%", "60.0%")  # on an axis of 90 to 100
    assert [one.text for one in root.iter() if one.get("class") == "tick"] == ["90", "92", "94", "96", "98", "100"]
    assert charts.intervals([]) == ""


@pytest.mark.parametrize("low", [0.0, 0.3, 0.5, 0.79, 0.899, 0.9, 0.95, 0.9999])
def test_every_interval_fits_its_axis(low: float) -> None:
    svg = charts.intervals([("x", {"accuracy": (low + 1) / 2, "accuracy_low": low, "accuracy_high": 1.0})], chance=0.5)
    places = [float(place) for place in re.findall(r'\b(?:x|cx|x1)="([-\d.]+)%', svg)]
    assert min(places) >= 0 and max(places) <= 100


def test_charts_are_xml_and_say_what_they_show() -> None:
    bins = [
        {"low": 0.9, "high": 1.0, "confidence": 0.98, "accuracy": 0.97, "n": 12345},
        {"low": 0.0, "high": 0.1, "confidence": 0.05, "accuracy": 0.0, "n": 0},
    ]
    svg = charts.reliability(bins)
    label = ElementTree.fromstring(svg).get("aria-label")  # noqa: S314
    assert label is not None and "said 98 %, right 97.0 % of 12,345" in plain(label)
    assert svg.count("<circle") == 1 and ">12k<" in svg
    assert charts.reliability([]) == "" and charts.reliability(bins[1:]) == ""
    ElementTree.fromstring(charts.bar(0.5, 0.4, 0.6))  # noqa: S314
    ElementTree.fromstring(charts.MARK)  # noqa: S314


@pytest.mark.parametrize("classes", [41, 200, 1000])
def test_the_heat_map_shows_right_green_wrong_rust_and_the_rest_clear(classes: int) -> None:
    counts = np.eye(classes) * 9
    counts[3, 30] = 1
    uri = charts.heat_picture(counts)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    step = -(-classes // 200)
    assert picture.shape == (-(-classes // step), -(-classes // step), 4)
    assert tuple(picture[3 // step, 30 // step, :3]) == charts.RUST and picture[3 // step, 30 // step, 3] > 100
    assert tuple(picture[0, 0]) == (*charts.GRAFT_GREEN, 255)
    assert picture[30 // step, 3 // step, 3] == 0
