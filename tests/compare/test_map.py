"""The map: alike pictures near each other, strangers and suspects found, files that are whole."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import topwork
from topwork.compare.atlas import map_page, map_png, spread, write_map
from topwork.compare.map import PictureMap, Place, layout, strangers
from topwork.errors import InputError, UnknownName


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 25)
    rows = 3 * rng.standard_normal((4, 30))[labels] + rng.standard_normal((100, 30))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_neighbours_stay_neighbours(method: str) -> None:
    rows, labels = clusters()
    places, kept = layout(rows, method)  # type: ignore[arg-type]
    assert places.shape == (100, 2) and places.min() >= 0 and places.max() <= 1
    apart = ((places[:, None] - places[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    assert (labels[apart.argmin(1)] == labels).mean() > 0.9
    assert 0.3 < kept <= 1
    np.testing.assert_array_equal(places, layout(rows, method)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_few_pictures_have_a_map(count: int) -> None:
    places, _ = layout(clusters()[0][:count], "tsne")
    assert places.shape == (count, 2) and np.isfinite(places).all()


def test_a_row_far_from_all_is_a_stranger_and_its_copy_does_not_hide_it() -> None:
    rows, _ = clusters()
    far = np.zeros((2, 30), np.float32)
    far[:, 3] = -1
    found = strangers(np.concatenate([rows, far]), np.append(np.arange(100), [100, 100]))
    assert found[100:].all() and found[:100].sum() <= 3


@pytest.fixture(scope="module")
def drawn_map(painted: Path) -> PictureMap:
    files = sorted(painted.rglob("*.png"))
    points = [
        Place(str(file), file.parent.name, row % 8 / 7, row // 8 / 5, "blue bars" if row == 3 else None, row == 5)
        for row, file in enumerate(files)
    ]
    classes = sorted({file.parent.name for file in files})
    return PictureMap(points, classes, "tsne", 0.7, "last", "lite0", 1, 1, [], 0.1)


def test_the_page_is_whole_and_loads_nothing(drawn_map: PictureMap, tmp_path: Path) -> None:
    first = replace(drawn_map.points[0], label="<!--<script>")
    drawn_map = replace(drawn_map, points=[first, *drawn_map.points[1:]])
    write_map(drawn_map, tmp_path / "m.html", "a <b> & </script>")
    page = (tmp_path / "m.html").read_text()
    assert page.count("<circle") == 48 and page.count('class="suspect"') == 2 and page.count('class="alone"') == 2
    assert "<b>" not in page and not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert "default-src 'none'" in page and "'sha256-" in page
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert "<!--" not in page and facts["facts"][0][1] == "<!--<script>"
    assert len(facts["facts"]) == len(facts["sizes"]) == 48 and facts["facts"][3][2] == "blue bars"


def test_the_picture_shows_thumbnails_that_do_not_hide_each_other(drawn_map: PictureMap) -> None:
    image = Image.open(io.BytesIO(map_png(drawn_map, "painted")))
    assert image.format == "PNG" and min(image.size) > 600
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    chosen = spread(drawn_map.points, 30, 0.1)
    assert {3, 5} <= set(chosen)
    places = np.array([(drawn_map.points[row].x, drawn_map.points[row].y) for row in chosen])
    apart = np.abs(places[:, None] - places[None]).max(2)
    assert apart[~np.eye(len(chosen), dtype=bool)].min() >= 0.1


def test_a_picture_that_is_gone_leaves_a_gap(drawn_map: PictureMap) -> None:
    points = [Place("/no/such.png", "red bars", 0.5, 0.5, None, False), *drawn_map.points[:4]]
    page = map_page(PictureMap(points, drawn_map.classes, "pca", 0.5, "last", "lite0", 0, 0, [], 0.0), "gone")
    assert "[[0, 0]" in page


@pytest.mark.usefixtures("warm")
def test_a_wrong_label_and_a_strange_picture_are_ringed(painted: Path, tmp_path: Path) -> None:
    for file in painted.rglob("*.png"):
        place = tmp_path / "some" / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file)
    (tmp_path / "some" / "red bars" / "wrong.png").write_bytes((painted / "blue checks" / "00.png").read_bytes())
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 256, (72, 96, 3), dtype=np.uint8))
    Image.fromarray(np.asarray(noise)[::-1] // 2 + 90).save(tmp_path / "some" / "red bars" / "noise.png")
    found = topwork.picture_map(tmp_path / "some")
    by_name = {f"{Path(one.path).parent.name}/{Path(one.path).name}": one for one in found.points}
    assert by_name["red bars/wrong.png"].suggested == "blue checks"
    assert len(found.points) == 50 and found.suspects <= 4


@pytest.mark.usefixtures("warm")
def test_a_folder_without_classes_has_a_map(painted: Path, tmp_path: Path) -> None:
    found = topwork.picture_map(painted / "red bars", method="pca")
    assert len(found.points) == 12 and found.classes == [] and found.suspects == 0
    with pytest.raises(UnknownName, match="no such method"):
        topwork.picture_map(painted, method="umap")  # type: ignore[arg-type]
    (tmp_path / "two").mkdir()
    for name in ("00.png", "01.png"):
        (tmp_path / "two" / name).symlink_to(painted / "red bars" / name)
    with pytest.raises(InputError, match="at least 3"):
        topwork.picture_map(tmp_path / "two")
