"""What a person gets wrong, and what they get: one message that says expected, found and what to do; nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures.corpus import broken_files
from running import Cli

pytestmark = pytest.mark.usefixtures("warm")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, painted: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to make mistakes in."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    shutil.copytree(painted, home / "good")
    shutil.copytree(bundle, home / "b.topwork")
    first = painted / "red bars" / "00.png"
    shutil.copyfile(first, home / "a.png")
    (home / "empty").mkdir()
    for name, copies in (("one/cats", 3), ("single/cats", 3), ("single/dogs", 1), ("strange/cats", 2), ("strange/dogs", 2)):
        (home / name).mkdir(parents=True)
        for number in range(copies):
            shutil.copyfile(painted / "red bars" / f"{number:02d}.png", home / name / f"{number}.png")
    for name in ("broken/cats", "broken/dogs"):
        (home / name).mkdir(parents=True)
        (home / name / "text.jpg").write_text("no picture")
    (home / "text.jpg").write_text("no picture")
    (home / "notes.txt").write_text("mine")
    (home / "wrong.csv").write_text("file,class\na.png,cats\n")
    return home


MISTAKES = [
    # words, exit code, what the message says
    ("fit missing -o x.topwork", 1, ["missing: no such file or folder", "Expected a folder with one folder per class"]),
    ("fit empty -o x.topwork", 1, ["empty: found no pictures", "Expected one folder per class"]),
    ("fit one -o x.topwork", 1, ["found 1 class (cats), need at least 2", "one/cats, one/dogs"]),
    ("fit single -o x.topwork", 1, ["too few usable pictures in dogs (1)", "need at least 2"]),
    ("fit broken -o x.topwork", 1, ["none of its 2 pictures could be used", "text.jpg: NOT_IMAGE", "Expected JPEG"]),
    ("fit notes.txt -o x.topwork", 1, ["expected a folder with one folder per class", "found a .txt file"]),
    ("fit wrong.csv -o x.topwork", 1, ["expected a header with path,label", "found file,class"]),
    ("fit good --test strange -o x.topwork", 1, ["classes that good does not have: cats, dogs", "Expected some of"]),
    ("fit good -o notes.txt", 1, ["notes.txt: exists and is no bundle", "Choose another name"]),
    ("fit good -o notes.txt/x.topwork", 1, ["does not exist. Make it first"]),
    ("fit good -o good", 1, ["good: exists and is no bundle", "Choose another name"]),
    ("fit good -o nowhere/x.topwork", 1, ["nowhere does not exist", "Make it first"]),
    ("fit good -o x.topwork -b lite", 1, ["lite: no such backbone", "Did you mean lite", "lite0"]),
    ("fit good -o x.topwork -b timm:resnet5", 1, ["no such backbone", "Did you mean timm:resnet50"]),
    ("fit good -o x.topwork --weights none.pt", 1, ["none.pt: no such weight file", "Expected"]),
    ("fit good -o x.topwork --engine tensorrt", 2, ['"tensorrt"', "--engine", '"openvino"', "topwork fit --help"]),
    ("fit good -o x.topwork --sed 3", 2, ["Unknown option: --sed", "Did you mean --seed"]),
    ("fit good -o x.topwork --seed three", 2, ["--seed", '"three"', "int"]),
    ("fit good -o x.topwork --seed -1", 2, ["--seed", "-1", ">= 0"]),
    ("fit good -o x.topwork --test-share 1.5", 2, ["--test-share", "< 1"]),
    ("fit good -o x.topwork --epochs 3", 2, ["Unknown option: --epochs", "belongs to topwork finetune"]),
    ("fit good", 2, ["--out: expected the bundle to write", "found nothing", "topwork fit --help"]),
    ("fit good -o", 2, ["-o: expected a value, found nothing"]),
    ("fit", 2, ["PICTURES: expected a folder with one folder per class", "found nothing"]),
    ("fitt good", 2, ['Unknown command "fitt"', 'Did you mean "fit"']),
    ("cache shw", 2, ['Unknown command "shw"', 'Did you mean "show"']),
    ("predict b.topwork", 2, ["PICTURES: expected pictures", "found nothing"]),
    ("predict b.topwork missing.jpg", 1, ["missing.jpg: no such file or folder", "Expected pictures"]),
    ("predict b.topwork empty", 1, ["empty: found no pictures"]),
    ("predict b.topwork a.png --top 0", 2, ["--top", ">= 1"]),
    ("predict b.topwork a.png --format xml", 2, ["--format", '"csv"']),
    ("predict b.topwork -a.png", 2, ["-a.png"]),
    ("predict missing.topwork a.png", 1, ["missing.topwork: no such bundle", "Make one: topwork fit"]),
    ("predict good a.png", 1, ["good: expected a bundle made by topwork fit"]),
    ("predict notes.txt a.png", 1, ["notes.txt: expected a bundle made by topwork fit"]),
    ("score b.topwork strange", 1, ["classes that the classifier does not know: cats (2), dogs (2)", "It knows", "Rename"]),
    ("score b.topwork empty", 1, ["empty: found no pictures"]),
    ("score b.topwork good --fail-under 101", 2, ["--fail-under", "<= 100"]),
    ("audit missing", 1, ["missing: no such file or folder"]),
    ("audit empty", 1, ["empty: found no pictures"]),
    ("embed missing -o x.npz", 1, ["missing: no such file or folder"]),
    ("embed empty -o x.npz", 1, ["empty: found no pictures"]),
    ("embed good -o x.txt", 1, ["expected a name that ends in .npz or .parquet"]),
    ("embed wrong.csv -o x.npz", 1, ["expected a header with path,label"]),
    ("demo notes.txt", 1, ["expected a folder to work in, found a file"]),
    ("demo good", 1, ["good: holds other files", "Choose an empty or a new folder"]),
]


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES, ids=[words for words, _, _ in MISTAKES])
def test_a_mistake_is_one_message(words: str, code: int, said: list[str], place: Path, cli: Cli) -> None:
    before = files_below(place)
    for flags in ((), ("--json",)) if not words.startswith(("demo", "cache", "fitt")) else ((),):
        done = cli(*words.split(), *flags)
        assert done.code == code, done.err
        assert done.out == ""  # also with --json: the exit code and stderr tell
        assert done.err.startswith("topwork: ") and done.err.count("\n") == 1, done.err
        assert all(part in done.err for part in said), done.err
    assert files_below(place) == before


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("syntax", "config.json is none of a bundle"),
        ("value", "config.json was changed or damaged"),
        ("head.safetensors", "head.safetensors was changed or damaged"),
        ("format", "made by topwork"),
        ("gone", "head.safetensors cannot be read"),
        ("backbone", "cannot use it"),
    ],
)
def test_a_damaged_or_newer_bundle(file: str, said: str, place: Path, cli: Cli) -> None:
    config = place / "b.topwork" / "config.json"
    facts = json.loads(config.read_text())
    if file == "format":
        config.write_text(json.dumps({**facts, "format": facts["format"] + 1}))
    elif file == "gone":
        (place / "b.topwork" / "head.safetensors").unlink()
    elif file == "backbone":
        from topwork.bundle import _checksum

        del facts["backbone"]["dim"]
        body = {key: value for key, value in facts.items() if key not in ("sha256", "tells")}
        config.write_text(json.dumps({**facts, "sha256": _checksum(body)}))
    elif file in ("syntax", "value"):
        data = bytearray(config.read_bytes())
        data[0 if file == "syntax" else data.index(b'"sha256": "') + len('"sha256": "')] ^= 1
        config.write_bytes(data)
    else:
        data = bytearray((place / "b.topwork" / file).read_bytes())
        data[len(data) // 2] ^= 1
        (place / "b.topwork" / file).write_bytes(data)
    for command in ("predict", "score"):
        done = cli(command, "b.topwork", "good", "--json")
        assert (done.code, done.out) == (1, "")
        assert "b.topwork: " in done.err and said in done.err and done.err.count("\n") == 1, done.err


def test_a_full_disk_leaves_the_old_bundle(place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_below(place)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("topwork.runtime.os.write", full)
    done = cli("fit", "good", "-o", "b.topwork")
    monkeypatch.undo()
    assert done.code == 1 and done.out == ""
    assert "the disk is full" in done.err and "MB are needed" in done.err and "MB are free" in done.err
    assert files_below(place) == before


def test_no_room_for_an_engine(place: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    monkeypatch.setenv("TOPWORK_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "total used free")(10, 9, 1))
    done = cli("embed", "good", "-o", "x.npz")
    assert done.code == 1 and "the disk is full" in done.err
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written(place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    done = cli("fit", "good", "-o", "x.topwork")
    assert done.code == 1
    assert "x.topwork: expected a place that can be written, found" in done.err and "Choose another place" in done.err


def test_what_can_be_answered_is_answered(place: Path, cli: Cli) -> None:
    done = cli("predict", "b.topwork", "missing.jpg", "a.png", "text.jpg", "empty", "--json")
    assert done.code == 3
    rows = json.loads(done.out)["predictions"]
    assert [row["path"] for row in rows] == ["missing.jpg", "a.png", "text.jpg"]
    assert [(row["error"] or "answered").partition(":")[0] for row in rows] == ["UNREADABLE", "answered", "NOT_IMAGE"]
    assert all((row["label"] is None) == (row["error"] is not None) for row in rows)
    assert "missing.jpg: UNREADABLE" in done.err and "text.jpg: NOT_IMAGE" in done.err and "empty: found no" in done.err
    table = cli("predict", "b.topwork", "missing.jpg", "a.png", "--format", "csv")
    lines = table.out.splitlines()
    assert table.code == 3 and lines[0] == "path,label,probability,none_of_these,error"
    assert lines[1].startswith("missing.jpg,,,,UNREADABLE") and lines[2].startswith("a.png,")


def test_a_test_that_cannot_be_read_is_not_replaced_by_another(place: Path, cli: Cli) -> None:
    folder = place / "later" / "red bars"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_text("this is no picture")
    done = cli("fit", place / "good", "--test", place / "later", "-o", place / "x.topwork")
    assert done.code == 1 and "none of its test pictures could be used" in done.err


def test_odd_names(place: Path, cli: Cli, painted: Path) -> None:
    folder = place / "odd"
    folder.mkdir()
    names = ["with space.png", "größe ☂.png", "-dash.png", "br[red]x[green].png", "%s{0}.png", "quote'\".png"]
    if os.name == "posix":
        names += ["new\nline.png", "tab\tand \x1b[31m.png", os.fsdecode(b"not text \xff.png")]
    for name in names:
        shutil.copyfile(painted / "red bars" / "00.png", folder / name)
    done = cli("predict", "b.topwork", "odd", "--json")
    assert done.code == 0, done.err
    assert sorted(Path(row["path"]).name for row in json.loads(done.out)["predictions"]) == sorted(names)
    text = cli("predict", "b.topwork", "odd")
    assert text.out.count("\n") == len(names) and "\x1b" not in text.out
    shutil.copytree(folder, place / "good" / "red bars", dirs_exist_ok=True)
    assert cli("fit", "good", "-o", "odd.topwork").code == 0
    assert cli("score", "odd.topwork", "good", "--json").code == 0
    assert cli("embed", "good", "-o", "odd.parquet").code == 0
    os.chdir(folder)
    assert cli("predict", place / "odd.topwork", "--", "-dash.png").code == 0


def test_flag_then_environment_then_file_then_default(place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*words: str) -> int:
        done = cli("predict", "b.topwork", "a.png", "--json", *words)
        assert done.code == 0, done.err
        return len(json.loads(done.out)["predictions"][0]["top"])

    assert shown() == 4  # of four classes
    (place / "topwork.toml").write_text("top = 3\nseed = 7\n")
    assert shown() == 3
    (place / "topwork.toml").write_text("top = 3\n[predict]\ntop = 2\n[fit]\ntest-share = 0.3\n")
    assert shown() == 2
    monkeypatch.setenv("TOPWORK_TOP", "1")
    assert shown() == 1
    assert shown("--top", "4") == 4
    monkeypatch.setenv("TOPWORK_TOP", "many")
    assert cli("predict", "b.topwork", "a.png").code == 2
    monkeypatch.delenv("TOPWORK_TOP")
    # Names that are not a flag's whole name mean nothing, and neither do what has a place of its own.
    for name in ("TOPWORK_TEST_DATA", "TOPWORK_TO", "TOPWORK_BUNDLE", "TOPWORK_PICTURES", "TOPWORK_STORE_X"):
        monkeypatch.setenv(name, "nonsense")
    assert shown() == 2
    monkeypatch.setenv("TOPWORK_JSON", "true")
    assert json.loads(cli("cache", "show").out)["stored"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sede = 3", "sede is no flag of any command. Did you mean seed"),
        ("[fitt]\nseed = 3", "[fitt] is no command. Did you mean fit"),
        ("[predict]\nseed = 3", "[predict]: seed is no flag of this command"),
        ('top = "many"', "unable to convert"),
        ("top = [1]", "expected one value"),
        ("top =", "expected TOML"),
    ],
)
def test_a_mistake_in_the_settings_file(text: str, said: str, place: Path, cli: Cli) -> None:
    (place / "topwork.toml").write_text(text)
    done = cli("predict", "b.topwork", "a.png")
    assert (done.code, done.out) == (2, "")
    assert "topwork.toml" in done.err and said in done.err and done.err.count("\n") == 1


def test_a_missed_gate(place: Path, cli: Cli) -> None:
    shutil.move(place / "good" / "red bars" / "00.png", place / "good" / "blue checks" / "wrong.png")
    done = cli("score", "b.topwork", "good", "--fail-under", "99.9", "--json")
    assert done.code == 4 and json.loads(done.out)["accuracy"] < 0.999
    assert "expected at least 99.9 % right" in done.err and "found" in done.err
    assert cli("score", "b.topwork", "good", "--fail-under", "0.1").code == 0


def test_no_broken_file_stops_a_command(place: Path, cli: Cli, painted: Path) -> None:
    """I1: all kinds of broken file, in every command; the numbers of the good ones stay the same to the last bit."""
    assert cli("embed", "good", "-o", "alone.npz", "--no-store").code == 0
    files = broken_files(place / "good" / "red bars")
    assert len(files) >= 60
    done = cli("embed", "good", "-o", "among.npz", "--no-store", "--json")
    assert done.code == 3
    alone, among = np.load("alone.npz"), np.load("among.npz")
    rows = {path: row for row, path in enumerate(among["paths"])}
    np.testing.assert_array_equal(among["features"][[rows[path] for path in alone["paths"]]], alone["features"])
    found = {Path(bad["path"]).name: bad["reason"] for bad in json.loads(done.out)["broken"]}
    for path, allowed in files:
        if path.name not in ("directory.jpg", "missing.jpg"):  # a folder holds nothing; what is not there is not listed
            assert found.pop(path.name, "ok") in allowed, path.name
    assert not found
    for words in ("predict b.topwork good", "score b.topwork good", "audit good", "fit good -o c.topwork"):
        done = cli(*words.split(), "--json")
        assert done.code == 3, (words, done.err)
        assert json.loads(done.out)
        assert "NOT_IMAGE" in done.err or words.startswith("audit")
    assert (place / "c.topwork" / "report.html").is_file()


def test_each_broken_file_alone(tmp_path: Path, bundle: Path) -> None:
    """I1: each kind alone is answered with its reason, and none is an exception."""
    from topwork import Classifier

    files = broken_files(tmp_path / "corpus")
    answers = Classifier.load(bundle).predict([path for path, _ in files if path.name != "directory.jpg"])
    allowed = [outcomes for path, outcomes in files if path.name != "directory.jpg"]
    for row, outcomes in zip(answers, allowed, strict=True):
        assert (row.error or "ok").partition(":")[0] in outcomes, row


def words_of(*words: object) -> list[str]:
    return [sys.executable, "-m", "topwork", *map(str, words)]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_keeps_what_was_done(place: Path, warm: Path, tmp_path: Path) -> None:
    cache = tmp_path / "interrupted"
    shutil.copytree(warm / "engines", cache / "engines")
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (place / "many" / name).mkdir(parents=True)
        for number in range(400):
            noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / "many" / name / f"{number}.png", compress_level=0)
    before = files_below(place)
    process = subprocess.Popen(
        words_of("fit", "many", "-o", "b.topwork", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOPWORK_CACHE": str(cache)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def stored() -> int:
        files = list(cache.glob("embeddings-*.sqlite"))
        try:
            with closing(sqlite3.connect(files[0])) as database:
                return int(database.execute("SELECT count(*) FROM rows").fetchone()[0])
        except (IndexError, sqlite3.Error):
            return 0

    stop = time.monotonic() + 60
    while not stored() and time.monotonic() < stop and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == "" and err.count("\n") == 1 and "interrupted" in err
    assert 0 < stored() < 800
    assert files_below(place) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_a_reader_that_goes_away(place: Path) -> None:
    process = subprocess.Popen(
        words_of("predict", "b.topwork", "good"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert err == ""
