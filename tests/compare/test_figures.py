"""What stands on a figure can be read: no label on another one."""

from __future__ import annotations

from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Annotation

from topwork.compare.figures import pareto_figure
from topwork.compare.picker import Compared, Comparison


def network(name: str, accuracy: float, milliseconds: float) -> Compared:
    return Compared(
        name=name,
        accuracy=accuracy,
        accuracy_low=accuracy - 0.01,
        accuracy_high=min(1.0, accuracy + 0.01),
        images_per_second=100.0,
        latency_ms=milliseconds,
        size_mb=20.0,
        memory_mb=None,
        logme=0.0,
        h_score=0.0,
        leep=None,
        pictures=100,
        view="last",
        engine="openvino f32",
        input_size=224,
        dropped=None,
    )


@pytest.mark.parametrize("apart", [0.1, 0.5, 8.0])
def test_the_names_of_networks_stand_apart(apart: float) -> None:
    rows = [network(f"network {place}", 0.99 - 0.0005 * place, 20 + apart * place) for place in range(6)]
    found = Comparison(rows, rows[0].name, "", None, [], [], 100, 2, [], {"ms": None, "mb": None}, 1.0)
    figure = pareto_figure(found, "photos")
    axes = figure.axes[0]
    figure.draw_without_rendering()
    texts = [one for one in axes.texts if isinstance(one, Annotation) and one.get_visible() and one.get_text()]
    assert sorted(one.get_text() for one in texts) == sorted(f"{one.name} {100 * one.accuracy:.1f} %" for one in rows)
    boxes = [one.get_window_extent() for one in texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    figure.canvas.draw()
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert all(one != other for one, other in pairwise(ticks))
    plt.close(figure)
