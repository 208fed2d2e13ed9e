"""The distance on real photos: it ranks as it should, holds with few, and its advice is what held-out pictures say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import topwork
from topwork.compare.distance import LANDMARKS, Distance, doubt, strangeness
from topwork.demo import write_digits

SOME = 60
"""Pictures of each set: the profile needs no more to rank them."""


@pytest.fixture(scope="module")
def measured() -> dict[str, Distance]:
    return {}


def look(name: str, photos: Path, tmp_path: Path, measured: dict[str, Distance]) -> Distance:
    if name not in measured:
        folder = write_digits(tmp_path / "digits")[0] if name == "digits" else photos / name
        measured[name] = topwork.distance(folder, most=SOME, store=False)
    return measured[name]


@pytest.mark.photos
@pytest.mark.usefixtures("warm")
def test_photos_are_near_tiles_and_digits_far(photos: Path, tmp_path: Path, measured: dict[str, Distance]) -> None:
    names = ("imagenet-one-per-class", "cats-vs-dogs", "pets37", "eurosat", "digits")
    own, pets, breeds, tiles, digits = (look(name, photos, tmp_path, measured).distance for name in names)
    assert 3 * own < min(pets, breeds), "photos of a few kinds are further away than photos of all kinds"
    assert max(pets, breeds) < 1.35 * min(pets, breeds)
    assert 2 * max(pets, breeds) < tiles and 1.5 * tiles < digits
    for known, figure in zip(LANDMARKS.values(), (own, pets, breeds, tiles, digits), strict=True):
        assert figure == pytest.approx(known, rel=0.25, abs=0.004)


@pytest.mark.photos
@pytest.mark.usefixtures("warm")
def test_it_knows_what_it_sees(photos: Path, tmp_path: Path, measured: dict[str, Distance]) -> None:
    own = look("imagenet-one-per-class", photos, tmp_path, measured)
    assert own.advice is None and "fewer than 2 pictures" in own.reason
    named = [label[4:].replace("_", " ").lower() for label in own.taken_for]
    said = [taken[0]["name"].lower() for taken in own.taken_for.values()]
    assert np.mean([one == other for one, other in zip(named, said, strict=True)]) > 0.6
    cats = look("cats-vs-dogs", photos, tmp_path, measured)
    assert any("cat" in one["name"] or one["name"] == "tabby" for one in cats.taken_for["cat"][:2])


@pytest.mark.photos
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(("name", "advice"), [("cats-vs-dogs", {"last"}), ("eurosat", {"finetune"})])
def test_advice_is_what_held_out_pictures_say(photos: Path, name: str, advice: set[str]) -> None:
    found = topwork.distance(photos / name / "train", most=400)
    assert found.advice in advice, found.reason
    gain = found.details["gain"]
    assert gain["low"] <= gain["accuracy"] <= gain["high"]
    assert (gain["log_loss_low"] > 0 or gain["low"] > 0) == (found.advice != "last")
    assert found.details["expected"]["low"] <= found.details["expected"]["accuracy"] <= found.details["expected"]["high"]
    assert len(found.details["stages"]) == 7


@pytest.mark.photos
@pytest.mark.usefixtures("warm")
def test_pictures_must_be_strange_for_fine_tuning_to_be_advised(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.compare.advice.STRANGE", 0.5)
    found = topwork.distance(photos / "eurosat" / "train", most=400)
    assert found.advice == "staged" and "has not paid (0.5 and more" in found.reason


@pytest.mark.usefixtures("warm")
def test_labels_that_nothing_tells_apart_are_told() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    pairs = [(Image.fromarray(one), "ab"[number % 2]) for number, one in enumerate(noise)]
    found = topwork.distance(pairs, store=False)
    assert found.advice == "last" and "no better than always saying the largest class (50.0 %)" in found.reason


def test_answers_that_know_nothing_are_as_strange_as_can_be() -> None:
    sure = np.full((10, 100), 1e-9)
    sure[:, 3] = 1
    assert doubt(sure) < 1e-3 and strangeness(doubt(sure)) == 0
    assert doubt(np.full((10, 100), 0.01)) == pytest.approx(1)
    assert strangeness(1.0) == 1
