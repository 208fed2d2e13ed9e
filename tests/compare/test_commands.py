"""distance, compare, curve and map as commands: documents, files, bundles, and what is said of bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from running import Cli
from topwork.classifier import Classifier

pytestmark = pytest.mark.usefixtures("warm")

TINY = "timm:test_efficientnet=random"


def test_distance_tells_figure_layers_names_and_advice(cli: Cli, painted: Path, tmp_path: Path) -> None:
    done = cli("distance", painted, "-o", tmp_path / "d.png", "--json", "-q")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert 0 < found["distance"] < 1 and len(found["layers"]) == 49 and set(found["layers"][0]) == {"name", "distance"}
    assert found["advice"] in ("last", "staged", "finetune") and found["reason"]
    assert sorted(found["taken_for"]) == ["blue bars", "blue checks", "red bars", "red checks"]
    assert all(0 < one["share"] <= 1 and one["name"] for taken in found["taken_for"].values() for one in taken)
    assert (tmp_path / "d.png").read_bytes()[:4] == b"\x89PNG"
    text = cli("distance", painted, "-o", tmp_path / "d.html", "-q").out
    assert f"distance {found['distance']:.3f}" in text and "advice" in text and "handwritten digits" in text
    assert "How strange these pictures are" in (tmp_path / "d.html").read_text()


def test_distance_works_without_labels_and_with_one_class(cli: Cli, painted: Path, tmp_path: Path) -> None:
    plain = json.loads(cli("distance", painted / "red bars", "--json", "-q").out)
    assert plain["advice"] is None and "no labels" in plain["reason"] and list(plain["taken_for"]) == [""]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "red").symlink_to(painted / "red bars")
    one = json.loads(cli("distance", tmp_path / "one", "--json", "-q").out)
    assert one["advice"] is None and "one class" in one["reason"] and one["distance"] == plain["distance"]
    assert list(one["taken_for"]) == ["red"] and any("say little" in text for text in one["warnings"])


def test_distance_of_a_network_without_normalisation_goes_by_its_answers(cli: Cli, painted: Path, tmp_path: Path) -> None:
    done = cli("distance", painted, "-b", "timm:test_vit", "--weights", "random", "--json", "-q")
    found = json.loads(done.out)
    assert done.code == 0 and found["measured_by"] == "answers" and found["layers"] == []
    assert found["distance"] > 0.9, "random weights know nothing"
    drawn = cli("distance", painted, "-b", "timm:test_vit", "--weights", "random", "-o", tmp_path / "d.png", "-q")
    assert drawn.code == 1 and "no normalisation layers" in drawn.err


def test_curve_tells_points_and_forecast(cli: Cli, painted: Path, tmp_path: Path) -> None:
    done = cli("curve", painted, "--goal", "99", "-o", tmp_path / "c.svg", "--json", "-q")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["points"] and set(found["points"][0]) == {"per_class", "pictures", "accuracy", "low", "high"}
    assert found["forecast"]["goal"] == 0.99 and found["forecast"]["now"]["per_class"] == 12
    assert "<svg" in (tmp_path / "c.svg").read_text()
    assert "gains most" in cli("curve", painted, "-q").out


def test_map_writes_both_files(cli: Cli, painted: Path, tmp_path: Path) -> None:
    done = cli("map", painted, "-o", tmp_path / "m.png", "-o", tmp_path / "m.html", "--json", "-q")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found["points"]) == 48 and found["out"] == [str(tmp_path / "m.png"), str(tmp_path / "m.html")]
    assert (tmp_path / "m.png").is_file() and "<svg" in (tmp_path / "m.html").read_text()


def test_compare_tells_every_network_and_saves_the_pick(cli: Cli, painted: Path, tmp_path: Path) -> None:
    names = f"lite0,{TINY},timm:resnet18"
    done = cli(
        "compare", painted, "--backbones", names, "--save", tmp_path / "p.topwork", "-o", tmp_path / "p.png", "--json", "-q"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    keys = {
        "name",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "images_per_second",
        "latency_ms",
        "size_mb",
        "logme",
        "h_score",
    }
    assert {one["name"] for one in found["backbones"]} == {"lite0", TINY} and found["pick"] in ("lite0", TINY)
    assert all(keys | {"leep", "memory_mb", "dropped"} <= set(one) for one in found["backbones"])
    assert found["skipped"][0]["command"] == "topwork zoo get timm:resnet18"
    assert {found["test"]["first"], found["test"]["second"]} == {"lite0", TINY} and 0 <= found["test"]["p"] <= 1
    classifier = Classifier.load(found["bundle"])
    assert found["pick"].startswith(classifier.spec.id) and classifier.facts["compare"]["pick"] == found["pick"]
    assert "Which network" in (tmp_path / "p.topwork" / "report.html").read_text()
    text = cli("compare", painted, "--backbones", names, "-q").out
    assert "> " in text and "Get it: topwork zoo get timm:resnet18" in text and "the best two" in text


def test_a_budget_nothing_meets_is_told_with_the_nearest(cli: Cli, painted: Path, tmp_path: Path) -> None:
    save = tmp_path / "p.topwork"
    done = cli("compare", painted, "--backbones", f"lite0,{TINY}", "--budget-ms", "0.0001", "--save", save, "--json", "-q")
    assert done.code == 4 and json.loads(done.out)["pick"] is None
    assert "no network keeps within 0.0001 ms; the nearest is" in done.err and not save.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compare", "PAINTED", "--backbones", "timm:resnet18"], "topwork zoo get timm:resnet18"),
        (["compare", "PAINTED", "--backbones", ","], "expected at least one network"),
        (["compare", "PAINTED", "--backbones", "lite0,lite0"], "named twice: lite0"),
        (["compare", "PAINTED", "--backbones", "lite9"], "Did you mean lite"),
        (["compare", "PAINTED", "--backbones", "lite0", "--budget-mb", "-1"], "expected more than 0"),
        (["compare", "PLAIN", "--backbones", "lite0"], "found no class"),
        (["curve", "PLAIN"], "found no class"),
        (["curve", "PAINTED", "-o", "curve.txt"], ".png, .svg or .html"),
        (["map", "PAINTED", "-o", "map.txt"], ".png or .html"),
        (["distance", "NOWHERE"], "no such"),
        (["distance", "PAINTED", "--report", "NOWHERE"], "NOWHERE"),
    ],
)
def test_bad_input_is_said(cli: Cli, painted: Path, words: list[str], told: str) -> None:
    places = {"PAINTED": painted, "PLAIN": painted / "red bars"}
    done = cli(*[places.get(word, word) for word in words], "-q")
    assert done.code == 1 and told in done.err and not done.out, done


def test_results_can_join_the_report_of_a_bundle(cli: Cli, painted: Path, bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.topwork"
    shutil.copytree(bundle, mine)
    before = json.loads(cli("predict", mine, painted / "red bars" / "00.png", "--json").out)["predictions"]
    assert cli("distance", painted, "--report", mine, "-q").code == 0
    assert cli("map", painted, "-o", tmp_path / "m.png", "--report", mine, "-q").code == 0
    assert cli("curve", painted, "--report", mine, "-q").code == 0
    page = (mine / "report.html").read_text()
    for words in ("How strange these pictures are", "The folder as a map", "How many more photos it takes", "Class by class"):
        assert words in page
    assert json.loads(cli("predict", mine, painted / "red bars" / "00.png", "--json").out)["predictions"] == before


def test_broken_pictures_are_told_and_change_nothing(cli: Cli, painted: Path, tmp_path: Path) -> None:
    shutil.copytree(painted, tmp_path / "photos")
    for name in ("red bars", "blue bars"):
        (tmp_path / "photos" / name / "x.png").write_bytes(b"\x89PNG broken")
    good = json.loads(cli("curve", painted, "--json", "-q").out)
    done = cli("curve", tmp_path / "photos", "--json", "-q")
    found = json.loads(done.out)
    assert done.code == 3 and len(found["broken"]) == 2 and "x.png" in done.err
    assert found["forecast"]["now"]["per_class"] == good["forecast"]["now"]["per_class"]
