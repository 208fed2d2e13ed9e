from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from pyarrow import parquet


def topwork(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "topwork", *map(str, words)], capture_output=True, text=True, check=False)


def test_embed_writes_both_formats_and_tells_bad_files(drawn: Path, tmp_path: Path) -> None:
    (drawn / "red" / "bad.jpg").write_text("no picture")
    done = topwork("embed", drawn, "-o", tmp_path / "f.npz", "--json")
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["images_per_second"] > 0
    assert "NOT_IMAGE" in done.stderr
    assert topwork("embed", drawn, "-o", tmp_path / "f.parquet").returncode == 3
    arrays = np.load(tmp_path / "f.npz")
    table = parquet.read_table(tmp_path / "f.parquet")
    assert arrays["features"].shape == (12, result["width"])
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), arrays["features"])
    assert json.loads(topwork("cache", "show", "--json").stdout)["stored"][0]["rows"] == 12


def test_mistakes_are_one_message(tmp_path: Path) -> None:
    for words, said in [
        (("embed", tmp_path / "missing", "-o", tmp_path / "f.npz"), "no such file or folder"),
        (("embed", tmp_path, "-o", tmp_path / "f.txt"), ".npz or .parquet"),
        (("embed", tmp_path, "-o", tmp_path / "f.npz"), "found no pictures"),
    ]:
        done = topwork(*words)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_help_loads_no_torch() -> None:
    code = "import sys, topwork.cli as c; c.app(['--help'], result_action='return_value'); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
