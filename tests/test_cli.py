"""The commands on pictures that are all right: what they print, and the keys that other programs read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import topwork
from running import Cli
from topwork.commands.app import COMMANDS, GROUPS
from topwork.commands.common import right
from topwork.features import table as tables

pytestmark = pytest.mark.usefixtures("warm")

SCORED = {"accuracy", "accuracy_low", "accuracy_high", "n", "ece", "seconds", "images_per_second", "engine", "backbone"}
PREDICTED = {"path", "label", "probability", "none_of_these", "top", "error"}
AUDITED = {"broken", "duplicates", "label_conflicts", "leaks", "suspect_labels"}


def test_fit_and_score(painted: Path, tmp_path: Path, cli: Cli) -> None:
    for words in (["fit", painted, "-o", tmp_path / "x.topwork"], ["score", tmp_path / "x.topwork", painted]):
        done = cli(*words, "--json")
        assert done.code == 0, done.err
        result = json.loads(done.out)
        assert result.keys() >= SCORED
        assert 0 <= result["accuracy_low"] <= result["accuracy"] <= result["accuracy_high"] <= 1
        assert result["accuracy"] > 0.8 and result["images_per_second"] > 0 and result["backbone"] == "lite0"
        text = cli(*words)
        assert text.code == 0 and " % right (" in text.out
        assert ("all 48 features from the store" in text.out) == (words[0] == "fit")  # a score keeps nothing
    # A small test stands beside what cross-validation says; a bundle is not replaced in silence.
    assert "\n  cross-validated " in text_of_fit(cli, painted, tmp_path / "y.topwork")
    assert "\n  replaced " not in text_of_fit(cli, painted, tmp_path / "z.topwork")
    assert "\n  replaced " in text_of_fit(cli, painted, tmp_path / "z.topwork")
    told = cli("fit", painted, "-o", tmp_path / "x.topwork", "--verbose")
    assert "engine: " in told.err and "features: " in told.err


def text_of_fit(cli: Cli, painted: Path, out: Path) -> str:
    done = cli("fit", painted, "-o", out)
    assert done.code == 0, done.err
    return done.out


def test_predict(painted: Path, bundle: Path, cli: Cli) -> None:
    done = cli("predict", bundle, painted, "--json", "--top", "2")
    rows = json.loads(done.out)["predictions"]
    assert done.code == 0 and done.err == "" and len(rows) == 48
    assert all(row.keys() >= PREDICTED and len(row["top"]) == 2 for row in rows)
    assert all(row["top"][0].keys() == {"label", "probability"} for row in rows)
    assert sum(row["top"][0]["label"] == Path(row["path"]).parent.name for row in rows) > 40
    text = cli("predict", bundle, painted, "--top", "1").out.splitlines()
    assert len(text) == 48 and not any("()" in line for line in text)
    assert "none of these" not in cli("predict", bundle, painted, "--always-answer").out


def test_audit(painted: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(painted, folder)
    shutil.copyfile(folder / "red bars" / "00.png", folder / "red bars" / "copy.png")
    shutil.copyfile(folder / "red bars" / "01.png", folder / "blue bars" / "other.png")
    (folder / "red bars" / "bad.jpg").write_bytes(b"")
    done = cli("audit", folder, "--json")
    found = json.loads(done.out)
    assert done.code == 3 and found.keys() >= AUDITED
    assert found["broken"] == [{"path": str(folder / "red bars" / "bad.jpg"), "reason": "EMPTY", "detail": "0 bytes"}]
    assert sorted(str(folder / "red bars" / name) for name in ("00.png", "copy.png")) in [
        sorted(g) for g in found["duplicates"]
    ]
    assert found["label_conflicts"][0]["labels"] != [] and "one picture under two labels: 1" in cli("audit", folder).out
    assert cli("audit", painted).code == 0


def test_only_all_of_them_are_hundred_per_cent() -> None:
    shares = (1.0, 0.9996, 0.999996, 0.988, 0.0004, 0.0, None)
    assert [right(share) for share in shares] == ["100.0 %", "99.96 %", "99.9996 %", "98.8 %", "0.04 %", "0.0 %", "-"]


def test_audit_tells_what_it_left_out(painted: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.copytree(painted, tmp_path / "some")
    shutil.copyfile(painted / "red bars" / "00.png", tmp_path / "some" / "beside.png")
    done = cli("audit", tmp_path / "some", "--json")
    assert any("beside the class folders" in one for one in json.loads(done.out)["warnings"])
    assert "beside the class folders" in done.err


def test_embed_writes_many_blocks_as_one(painted: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (2**24, 1):  # all rows at once, then row by row
        monkeypatch.setattr(tables, "BLOCK_BYTES", block)
        for kind in ("npz", "parquet"):
            assert cli("embed", painted, "-o", tmp_path / f"{block}.{kind}").code == 0
    whole, apart = np.load(tmp_path / f"{2**24}.npz"), np.load(tmp_path / "1.npz")
    for name in ("features", "paths", "labels", "sha256", "fingerprint"):
        np.testing.assert_array_equal(whole[name], apart[name])
    rows = parquet.read_table(tmp_path / "1.parquet")
    assert rows.equals(parquet.read_table(tmp_path / f"{2**24}.parquet"), check_metadata=True)
    assert rows["path"].to_pylist() == whole["paths"].tolist()
    assert rows.schema.metadata[b"topwork"].decode() == str(whole["fingerprint"])


def test_embed_writes_both_formats(painted: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("embed", painted, "-o", tmp_path / "f.npz", "--json")
    result = json.loads(done.out)
    assert done.code == 0 and result["images_per_second"] > 0 and result["pictures"] == 48
    assert cli("embed", painted, "-o", tmp_path / "f.parquet").code == 0
    arrays, table = np.load(tmp_path / "f.npz"), parquet.read_table(tmp_path / "f.parquet")
    assert arrays["features"].shape == (48, result["width"])
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), arrays["features"])
    assert set(table["label"].to_pylist()) == {folder.name for folder in painted.iterdir()}
    # Pictures beside the class folders have no label, and features all the same.
    shutil.copytree(painted / "red bars", tmp_path / "mixed" / "red")
    shutil.copyfile(painted / "red bars" / "00.png", tmp_path / "mixed" / "beside.png")
    assert cli("embed", tmp_path / "mixed", "-o", tmp_path / "m.npz").code == 0
    assert sorted(np.load(tmp_path / "m.npz")["labels"]) == ["", *["red"] * 12]


def test_cache_and_doctor(painted: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, warm: Path) -> None:
    assert cli("embed", painted, "-o", tmp_path / "f.npz").code == 0
    facts = json.loads(cli("doctor", "--json").out)
    assert any("cosine" in one["reason"] for one in facts["choices"] if one["backbone"] == "lite0")
    assert facts["versions"]["topwork"] and "openvino" in facts["engines"] and not facts["problems"]
    assert topwork.__version__ in cli("doctor").out
    copy = tmp_path / "copy"
    shutil.copytree(warm, copy)
    (copy / "mine.txt").write_text("not topwork's")
    for room in ("weights", "zoo"):  # weights may be the user's own; what was measured of networks is measured again
        (copy / room).mkdir(exist_ok=True)
        (copy / room / "kept.json").write_text("{}")
    monkeypatch.setenv("TOPWORK_CACHE", str(copy))
    assert json.loads(cli("cache", "show", "--json").out)["stored"][0]["rows"] >= 48
    assert json.loads(cli("cache", "clear", "--json").out)["freed_bytes"] > 1e6
    assert sorted(path.name for path in copy.iterdir()) == ["mine.txt", "weights"]
    assert "nothing stored" in cli("cache", "show").out and "nothing stored" in cli("cache", "clear").out
    (copy / "embeddings-1.sqlite").write_bytes(b"no database")
    assert cli("doctor", "--json").code == 0


def test_demo(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.demo.TRAINED", 120)
    monkeypatch.setattr("topwork.demo.PICTURES", 180)
    done = cli("demo", tmp_path / "d")
    assert done.code == 0, done.err
    assert "report.html" in done.out and "topwork fit photos/" in done.out
    found = str(tmp_path / "bin" / "topwork")  # where the shell would not find it by name, its path is told
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", [found])
        patch.setattr("shutil.which", lambda name: None)
        assert f"\n     {found} fit photos/" in cli("demo", tmp_path / "d").out
    assert cli("demo", tmp_path / "d").code == 0  # again, in the same folder
    assert cli("score", tmp_path / "d" / "digits.topwork", tmp_path / "d" / "test").code == 0


def test_help_tells_every_flag(cli: Cli) -> None:
    for words in ([], ["--help"], ["cache"]):
        assert cli(*words).code == 0
    for command in ("demo", "fit", "predict", "score", "audit", "embed", "doctor"):
        done = cli(command, "--help")
        assert done.code == 0 and f"Usage: topwork {command}" in done.out
    assert cli("--version").out.strip() == topwork.__version__


def test_the_list_of_commands_says_what_they_say_of_themselves(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    every, groups = cli("--help").out, {words.partition(" ")[0] for words, _, _ in COMMANDS if " " in words}
    for words, _, title in COMMANDS:
        group = words.partition(" ")[0]
        own = next(line.strip() for line in cli(*words.split(), "--help").out.splitlines()[1:] if line.strip())
        if group in groups:
            assert own in cli(group, "--help").out and not title
        else:
            assert own == title and title in every
    assert all(told in every for told in GROUPS.values())
