"""look, explain and ideal as commands: files, documents, and one message for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from running import Cli


@pytest.fixture
def picture(painted: Path) -> Path:
    return next(painted.glob("red bars/*.png"))


def test_look_draws_and_tells_the_layers(bundle: Path, picture: Path, cli: Cli, tmp_path: Path, warm: Path) -> None:
    done = cli("look", bundle, picture, "-o", tmp_path / "maps.png", "--json")
    document = json.loads(done.out)
    assert done.code == 0 and len(document["layers"]) == 6 and len(document["layers"][0]["channels"]) == 7
    with Image.open(tmp_path / "maps.png") as image:
        assert image.format == "PNG" and min(image.size) > 400
    assert cli("look", "-b", "lite0", picture, "-o", tmp_path / "pca.png", "--layer", "blocks.4", "--pca").code == 0
    listed = cli("look", "-b", "lite0", "--list-layers")
    assert "conv_stem: Conv2dSame, 32 x 112 x 112" in listed.out


def test_explain_tells_the_class_and_its_check(bundle: Path, picture: Path, cli: Cli, tmp_path: Path, warm: Path) -> None:
    done = cli("explain", bundle, picture, "-o", tmp_path / "why.png", "--against", "blue checks", "--check", "--json")
    document = json.loads(done.out)
    assert done.code == 0 and document["class"] == "red bars" and document["against"] == "blue checks"
    assert (tmp_path / "why.png").stat().st_size > 10_000
    assert {"deletion", "insertion", "deletion_random", "insertion_random"} <= document.keys()
    assert document["none_of_these"] is False
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(noise)
    assert "predict says: none of these" in cli("explain", bundle, noise, "-o", tmp_path / "why.png").out


def test_ideal_writes_pictures_sheet_and_loop(bundle: Path, cli: Cli, tmp_path: Path, warm: Path) -> None:
    out = tmp_path / "ideal"
    done = cli("ideal", bundle, "red bars", "blue checks", "-o", out, "--steps", 12, "--judges", "lite1", "--loop", "--json")
    document = json.loads(done.out)
    assert done.code == 0
    assert sorted(file.name for file in out.iterdir()) == [
        "0-red-bars.png", "1-blue-checks.png", "loop.png", "loop.webp", "loss.png", "sheet.png",
    ]  # fmt: skip
    assert [row["class"] for row in document["pictures"]] == ["red bars", "blue checks"]
    for row in document["pictures"]:
        with Image.open(row["path"]) as image:
            assert image.size == (224, 224) and image.mode == "RGB"
        assert 0 <= row["probability"] <= 1 and row["seconds"] > 0
        assert row["judges"]["lite1"]["probability"] is None and row["judges"]["lite1"]["label"]
    assert document["judges"]["lite1"] == {"known": 0, "agree": None, "mean_probability": None}
    with Image.open(out / "loop.webp") as film:
        assert film.n_frames == 13 and film.size == (448, 224)


def test_a_channel_has_no_probability(cli: Cli, tmp_path: Path, warm: Path) -> None:
    words = ("ideal", "-b", "lite0", "5", "7", "--layer", "blocks.3", "--steps", "3", "--loop", "-o", tmp_path / "run.1")
    (tmp_path / "run.1").mkdir()  # a folder whose name has a dot
    document = json.loads(cli(*words, "--json").out)
    assert [row["class"] for row in document["pictures"]] == ["blocks.3 channel 5", "blocks.3 channel 7"]
    assert not any("probability" in row for row in document["pictures"]) and (tmp_path / "run.1" / "loop.png").exists()
    told = cli("ideal", "-b", "lite0", "zebra", "--steps", "2", "--judges", "lite1", "-o", tmp_path / "z.png").out
    assert "lite1 took no part and agrees on" in told and "of them" in told and "nobody else" not in told
    assert "nobody else was asked" in cli("ideal", "-b", "lite0", "zebra", "--steps", "2", "-o", tmp_path / "z.png").out


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path) -> None:
    from topwork.look.sheets import captioned, save_figure

    picture = np.zeros((32, 32, 3), np.uint8)
    sheet = captioned([picture], [("$1 % of $5", "$a_{ % $")], "Why $1 (50 %) rather than $5", note="$ % $")
    save_figure(sheet, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("command", ["look", "explain"])
def test_the_picture_itself_is_never_replaced(command: str, picture: Path, cli: Cli, tmp_path: Path, warm: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(picture.read_bytes())
    done = cli(command, "-b", "lite0", mine, "-o", mine)
    assert done.code == 1 and "is the picture itself" in done.err and mine.read_bytes() == picture.read_bytes()


def test_one_class_is_one_picture(cli: Cli, tmp_path: Path, warm: Path) -> None:
    done = cli("ideal", "-b", "lite0", "zebra", "-o", tmp_path / "zebra.png", "--steps", 2, "--size", 96)
    assert done.code == 0 and "zebra: itself" in done.out
    with Image.open(tmp_path / "zebra.png") as image:
        assert image.size == (96, 96)


VIT = "timm:vit_tiny_patch16_224"
MISTAKES = {
    "class": (("ideal", "-b", "lite0", "zebro", "-o", "x.png"), "zebro: no such class. Did you mean zebra"),
    "class of a bundle": (("ideal", "{bundle}", "red bar", "-o", "x.png"), "Did you mean red bars"),
    "no class": (("ideal", "-b", "lite0", "-o", "x.png"), ""),
    "steps": (("ideal", "-b", "lite0", "zebra", "--steps", "0", "-o", "x.png"), "--steps: expected 1 or more, found 0"),
    "size": (("ideal", "-b", "lite0", "zebra", "--size", "9999", "-o", "x.png"), "--size: expected 32 to 4096"),
    "count": (("ideal", "-b", "lite0", "zebra", "--count", "0", "-o", "x.png"), "--count: expected 1 or more"),
    "out": (("ideal", "-b", "lite0", "zebra", "-o", "x.jpg"), "x.jpg: expected a name ending in .png, or a folder"),
    "channel": (("ideal", "-b", "lite0", "999", "--layer", "blocks.3", "-o", "x.png"), "no such channel of blocks.3"),
    "silent layer": (
        ("ideal", "-b", VIT, "--weights", "random", "0", "--layer", "blocks.0.attn.attn_drop", "-o", "x.png"),
        "gives no channels of whole pictures",
    ),
    "judge of channels": (("ideal", "-b", "lite0", "5", "--layer", "blocks.3", "--judges", "lite1", "-o", "x.png"), "no names"),
    "judge that took part": (("ideal", "-b", "lite0", "zebra", "--judges", "lite0", "-o", "x.png"), "has to be another one"),
    "layer": (("look", "-b", "lite0", "{picture}", "--layer", "block.3", "-o", "x.png"), "Did you mean blocks.3"),
    "flat layer": (("look", "-b", "lite0", "{picture}", "--layer", "global_pool", "-o", "x.png"), "no height and width"),
    "layer of ig": (
        ("explain", "-b", "lite0", "{picture}", "--method", "ig", "--layer", "blocks.3", "-o", "x.png"),
        "only gradcam looks at a layer",
    ),
    "no out": (("look", "-b", "lite0", "{picture}"), "-o: expected the PNG to write"),
    "picture": (("look", "-b", "lite0", "{broken}", "-o", "x.png"), "NOT_IMAGE"),
    "missing picture": (("explain", "-b", "lite0", "no.jpg", "-o", "x.png"), "no.jpg: UNREADABLE"),
    "words": (("explain", "{picture}", "-o", "x.png"), "expected a bundle and a picture, found 1 word"),
    "itself": (("explain", "{bundle}", "{picture}", "--class", "red bars", "--against", "red-bars", "-o", "x.png"), "itself"),
    "judge": (("ideal", "-b", "lite0", "zebra", "--judges", "lite9", "-o", "x.png"), "lite9"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one_message(
    name: str,
    picture: Path,
    cli: Cli,
    tmp_path: Path,
    warm: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken.jpg"
    broken.write_text("this is no picture")
    words, message = MISTAKES[name]
    bundle = request.getfixturevalue("bundle") if "{bundle}" in words else None
    done = cli(*(word.format(bundle=bundle, picture=picture, broken=broken) for word in words))
    assert done.code in (1, 2) and message in done.err
    assert done.out == "" and len(done.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("x.*"))
