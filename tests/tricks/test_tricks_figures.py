"""What the table, the sentence and the figures of the tricks say, on made-up results."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Annotation, Text
from PIL import Image

from topwork.finetune.tricks import OPTIMISERS
from topwork.tricks import figures
from topwork.tricks.experiment import STARTS, Experiment, variants
from topwork.tricks.result import Result, judged_together
from topwork.tricks.words import lines_of, verdict_of


def result(name: str, gain: float, p: float, topic: str = "optimiser") -> Result:
    base = topic == "base"
    return Result(
        name, topic, 0.8 + gain, 0.77, 0.83, gain, gain - 0.01, gain + 0.01, p, 1.0, "base" if base else "not clear", 3, 1
    )


def experiment(rows: list[Result]) -> Experiment:
    judged = judged_together(rows)
    falling = np.geomspace(0.7, 0.02, 20)
    losses = {name: (falling * (1 + 0.02 * place)).tolist() for place, name in enumerate(OPTIMISERS)}
    losses["adamw"] = losses["adam"]
    shrinking = {start: np.geomspace(1, 10.0 ** (-place), 8).tolist() for place, start in enumerate(STARTS)}
    spreads = {"without": {**shrinking, "zeros": [0.0] * 8}, "with": {**dict.fromkeys(STARTS, [0.58] * 8), "zeros": [0.0] * 8}}
    return Experiment(judged, verdict_of(judged), len(rows) - 1, spreads, losses, 100, ["a", "b"], "features", 5, {}, 1.0, [])


BASE = result("base recipe", 0.0, 1.0, "base")
OTHERS = [result(f"trick {place}", 0.01, 0.5) for place in range(27)]
SOME = [BASE, result("good", 0.05, 0.001), result("lucky", 0.02, 0.03), result("bad", -0.2, 1e-6), *OTHERS]


def text_of(figure: Any) -> str:
    return "\n".join([figure.get_suptitle(), figure.get_supxlabel()])


def test_a_verdict_follows_the_adjusted_p() -> None:
    found = experiment(SOME)
    verdicts = {row.name: row.verdict for row in found.results}
    assert found.comparisons == 30 and verdicts["base recipe"] == "base"
    assert {name for name, verdict in verdicts.items() if verdict == "better"} == {"good"}
    assert {name for name, verdict in verdicts.items() if verdict == "worse"} == {"bad"}
    adjusted = {row.name: row.adjusted for row in found.results}
    assert adjusted["bad"] == pytest.approx(30e-6) and adjusted["good"] == pytest.approx(29e-3)
    assert adjusted["lucky"] == pytest.approx(28 * 0.03)
    assert found.verdict == "clearly better than the base recipe: good; clearly worse than the base recipe: bad"
    lines = list(lines_of(found.results))
    assert len({len(line) for line in lines}) == 1
    assert "< 0.001" in lines[4] and "0.029" in lines[2] and "0.840" in lines[3]


def test_the_colours_are_the_verdicts_and_the_caption_says_how() -> None:
    figure = figures._tricks(experiment(SOME))
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    dots = {
        names[round(line.get_ydata()[0])]: to_hex(line.get_color()) for line in axes.lines if line.get_marker() in ("o", "<")
    }
    assert dots["good"] == figures.GREEN and dots["bad"] == figures.RUST
    assert {dots["lucky"], dots["trick 0"]} == {figures.GREY}
    assert "adjusted for 30 comparisons, Holm 1979" in text_of(figure)
    assert "1 clearly better (green), 1 clearly worse (red) than the base recipe" in text_of(figure)


def test_one_trick_that_ruins_all_does_not_press_the_others_together() -> None:
    axes = figures._tricks(experiment(SOME)).axes[0]
    low, high = axes.get_xlim()
    assert low > -15 and high > 5
    assert next(one.get_text() for one in axes.texts if isinstance(one, Annotation)) == "-20.0"
    edge = [line for line in axes.lines if line.get_marker() == "<"]
    assert len(edge) == 1 and to_hex(edge[0].get_color()) == figures.RUST and low < edge[0].get_xdata()[0] < 0
    figure = figures._tricks(experiment([BASE, result("bad", -0.2, 1e-6)]))
    assert "none clearly better, 1 clearly worse (red) than the base recipe" in text_of(figure)


def test_where_nothing_is_clear_it_says_so() -> None:
    found = experiment([BASE, *(replace(row, p=0.03) for row in SOME[1:])])
    assert found.verdict == "no trick is clearly better or worse than the base recipe"
    figure = figures._tricks(found)
    assert "none clearly better, none clearly worse than the base recipe" in text_of(figure)
    assert not {figures.GREEN, figures.RUST} & {to_hex(line.get_color()) for line in figure.axes[0].lines}


@pytest.mark.parametrize("drawing", [figures._optimisers, figures._spread])
def test_every_line_has_its_name_and_none_hides_another(drawing: Any) -> None:
    figure = drawing(experiment(SOME))
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert all(tick == round(tick) for tick in axes.get_xticks())
        names = [one for one in axes.texts if isinstance(one, Annotation)]
        assert len(names) == len(axes.lines)
        assert len({to_hex(one.get_color()) for one in axes.lines}) == len(axes.lines)
        boxes = [Text.get_window_extent(name) for name in names]  # of the name without its line
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        for one, other in combinations(axes.lines, 2):
            if np.array_equal(one.get_ydata(), other.get_ydata()):
                assert one.is_dashed() and other.is_dashed()
                assert one._unscaled_dash_pattern[0] != other._unscaled_dash_pattern[0]


def test_the_figures_are_written(tmp_path: Path) -> None:
    written = figures.write_figures(experiment(SOME), tmp_path / "new")
    assert [file.name for file in written] == ["tricks.png", "spread.png", "optimisers.png"]
    for file in written:
        with Image.open(file) as picture:
            assert min(picture.size) > 500


def test_names_move_apart_no_more_than_need_be() -> None:
    assert figures._apart([0.2, 0.8], 0.1) == pytest.approx([0.2, 0.8])
    assert figures._apart([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])
    assert figures._apart([1.0, 0.0, 0.98], 0.1) == pytest.approx([1.0, 0.0, 0.9], abs=0.011)


def test_there_are_thirty_tricks_beside_the_base() -> None:
    assert len({one.name for one in variants()}) == len(variants()) == 31
