"""The library's front door: every route in gives the same numbers, and the same seed the same bundle."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import topwork
from running import Cli
from topwork import Classifier
from topwork.errors import InputError
from topwork.report.text import command

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle)


@pytest.fixture(scope="module")
def files(painted: Path) -> list[Path]:
    return sorted(painted.glob("*/*.png"))


def pairs_of(files: list[Path]) -> list[tuple[Path, str]]:
    return [(file, file.parent.name) for file in files]


def test_every_route_gives_the_same_answer(classifier: Classifier, bundle: Path, files: list[Path], cli: Cli) -> None:
    """N1."""
    by_path = classifier.predict(files)
    routes = {
        "strings": classifier.predict([str(file) for file in files]),
        "PIL": classifier.predict([Image.open(file) for file in files]),
        "array": classifier.predict(np.stack([np.asarray(Image.open(file)) for file in files])),
        "arrays": classifier.predict([np.asarray(Image.open(file)) for file in files]),
        "one at a time": [classifier.predict(file)[0] for file in files[:3]],
        "folder": classifier.predict(files[0].parent.parent),
    }
    assert None not in by_path.labels and len(set(by_path.labels)) >= 4
    for name, answers in routes.items():
        if isinstance(answers, list):
            assert [row.label for row in answers] == by_path.labels[:3]
            expected = [row.probability for row in by_path.rows[:3]]
            assert [row.probability for row in answers] == pytest.approx(expected, abs=1e-5)
            continue
        assert answers.labels == by_path.labels, name
        np.testing.assert_allclose(answers.probs, by_path.probs, atol=1e-5, rtol=0, err_msg=name)
    rows = json.loads(cli("predict", bundle, *files, "--json").out)["predictions"]
    assert [row["path"] for row in rows] == [str(file) for file in files]
    assert [row["label"] for row in rows] == by_path.labels
    for row, probs in zip(rows, by_path.probs, strict=True):
        for one in row["top"]:
            assert abs(one["probability"] - probs[classifier.classes.index(one["label"])]) <= 1e-5


def test_a_picture_from_memory_is_turned_like_its_file(classifier: Classifier, files: list[Path], tmp_path: Path) -> None:
    upright = Image.open(files[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = classifier.predict([tmp_path / "turned.png"])
    np.testing.assert_allclose(turned.probs, classifier.predict(files[0]).probs, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(Image.open(tmp_path / "turned.png")).probs, turned.probs)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
def test_every_mode_of_a_picture_from_memory(mode: str, classifier: Classifier, files: list[Path], tmp_path: Path) -> None:
    grey = np.asarray(Image.open(files[0]).convert("L"))
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        picture = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        picture = Image.open(files[0]).convert(mode)
    assert picture.mode == mode
    answer = classifier.predict(picture)
    assert answer[0].error is None and answer[0].path == "picture 0"
    same = Image.open(files[0]).convert("L" if mode in ("I", "I;16", "F") else "RGBA" if mode == "LA" else mode)
    if mode not in ("LA",):
        np.testing.assert_allclose(answer.probs, classifier.predict(same.convert("RGB")).probs, atol=1e-3)


def test_one_type_always(classifier: Classifier, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    answers = classifier.predict([files[0], tmp_path / "text.jpg", tmp_path / "missing.jpg"])
    assert isinstance(answers, topwork.Predictions) and len(answers) == 3 and answers.failed == 2
    assert answers[0].error is None and answers[1].label is None and "NOT_IMAGE" in str(answers[1].error)
    assert answers.probs.shape == (3, 4)
    assert np.isfinite(answers.probs[0]).all() and np.isnan(answers.probs[1:]).all()
    assert np.isclose(answers.probs[0].sum(), 1, atol=1e-5)
    assert next(iter(answers)) == answers[0]


def test_none_of_these(classifier: Classifier, files: list[Path]) -> None:
    strange = np.full((40, 40, 3), 255, np.uint8)
    answer, forced = classifier.predict(strange[None])[0], classifier.predict(strange[None], always_answer=True)[0]
    assert answer.none_of_these and answer.label == "none of these" and len(answer.top) == 4
    assert not forced.none_of_these and forced.label == forced.top[0]["label"] == answer.top[0]["label"]
    assert sum(row.none_of_these for row in classifier.predict(files)) <= len(files) // 4


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 8, 8, 4), np.uint8),
        [3, 4],
        [],
    ],
    ids=["no channels", "one picture", "float", "four channels", "numbers", "nothing"],
)
def test_what_is_no_picture(pictures: object, classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"expected|Expected"):
        classifier.predict(pictures)


def test_the_same_seed_gives_the_same_bundle(painted: Path, tmp_path: Path, cli: Cli) -> None:
    """N3."""
    hashes = set()
    for number in range(2):
        done = cli("fit", painted, "-o", tmp_path / f"{number}.topwork", "--json", "--seed", 5)
        assert done.code == 0, done.err
        hashes.add(json.loads(done.out)["sha256"])
    assert len(hashes) == 1
    assert Classifier.fit(painted, seed=5).save(tmp_path / "library.topwork") in hashes
    assert Classifier.fit(painted, seed=5, store=False).save(tmp_path / "fresh.topwork") in hashes


def test_every_way_to_give_labelled_pictures(painted: Path, files: list[Path], tmp_path: Path) -> None:
    pairs = pairs_of(files)
    table = io.StringIO()
    csv.writer(table).writerows([("path", "label"), *pairs])
    (tmp_path / "list.csv").write_text(table.getvalue())
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    labels = [label for _, label in pairs]
    folder = Classifier.fit(painted)
    fitted = {
        "pairs": topwork.fit(pairs),
        "csv": topwork.fit(tmp_path / "list.csv"),
        "array": topwork.fit(arrays, labels=labels),
        "PIL pairs": topwork.fit([(Image.open(file), label) for file, label in pairs]),
    }
    expected = folder.predict(files)
    for name, other in fitted.items():
        assert other.classes == folder.classes, name
        np.testing.assert_allclose(other.predict(files).probs, expected.probs, atol=1e-5, err_msg=name)
    # Pictures from memory have no files any more when the report is written.
    fitted["array"].save(tmp_path / "array.topwork")
    assert (tmp_path / "array.topwork" / "report.html").stat().st_size > 0
    by_array, by_folder = folder.score(arrays, labels=labels), folder.score(painted)
    assert (by_array.accuracy, by_array.n) == (by_folder.accuracy, by_folder.n)


def test_a_given_test_is_what_is_scored(painted: Path, files: list[Path], tmp_path: Path) -> None:
    for file in files:
        split = "test" if int(file.stem) >= 9 else "train"
        target = tmp_path / "both" / split / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.name)
    both = topwork.fit(tmp_path / "both")
    apart = topwork.fit(tmp_path / "both" / "train", test=tmp_path / "both" / "test")
    assert both.facts["score"]["n"] == apart.facts["score"]["n"] == 12
    assert both.splits == apart.splits
    assert f"--test {tmp_path / 'both' / 'test'}" in command(apart.facts) and "--test " not in command(both.facts)
    taken = [trial for trial in both.facts["trials"] if trial["taken"]]
    chosen = both.facts["head"]
    assert len(taken) == 1 and {key: taken[0][key] for key in ("kind", "view", "transform")}.items() <= chosen.items()
    assert all((taken[0][key] or None) == chosen[key] for key in ("strength", "ridge"))
    assert both.score(tmp_path / "both").n == 12 and not both.score(tmp_path / "both").warnings


def test_a_score_on_what_was_learned_from_says_so(painted: Path, files: list[Path], tmp_path: Path) -> None:
    classifier = topwork.fit(painted)
    learned, new = len(classifier.splits["train"]), len(classifier.splits["test"])
    (told,) = classifier.score(painted).warnings
    assert told.startswith(f"{learned} of these {learned + new} pictures were learned from") and f"of the other {new} " in told
    sha256 = classifier.splits["train"][0]
    file = next(file for file in files if hashlib.sha256(file.read_bytes()).hexdigest() == sha256)
    assert "score it on new ones" in classifier.score([(file, file.parent.name)]).warnings[0]


def test_what_is_saved_answers_the_same(painted: Path, files: list[Path], tmp_path: Path) -> None:
    fitted = topwork.fit(painted)
    for slim in (False, True):
        fitted.save(tmp_path / "saved.topwork", slim=slim)
        names = {file.name for file in (tmp_path / "saved.topwork").iterdir()}
        assert {"config.json", "head.safetensors", "metrics.json", "splits.json", "README.md", "report.html"} <= names
        assert ("backbone.safetensors" in names) == (not slim)
        loaded = Classifier.load(tmp_path / "saved.topwork")
        np.testing.assert_array_equal(loaded.predict(files).probs, fitted.predict(files).probs)
        assert loaded.facts["score"] == fitted.facts["score"]


def test_settings_that_cannot_be(painted: Path) -> None:
    with pytest.raises(topwork.TopworkError, match=r"bakbone.*Did you mean backbone"):
        topwork.fit(painted, bakbone="lite0")
    with pytest.raises(InputError, match="between 0 and 1"):
        topwork.fit(painted, test_share=1.0)
    with pytest.raises(InputError, match="a label for each picture"):
        topwork.fit(np.zeros((3, 8, 8, 3), np.uint8), labels=["a", "b"])
    with pytest.raises(InputError, match="pairs"):
        topwork.fit([1, 2, 3])
