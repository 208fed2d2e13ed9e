"""I3: bombs are refused, or defused, within 64 MiB of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from corpus import bombs, encoded, noise

from topwork.pictures.decode import BadPicture, decode

MOST = 64  # MiB

# The peak of this process alone: ru_maxrss would begin at the peak of the process that started it.
MEASURE = """
import sys
from pathlib import Path
from topwork.pictures.decode import BadPicture, decode

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

for warm_up in sorted(Path(sys.argv[1]).iterdir()):
    decode(warm_up.read_bytes())
for path in sys.argv[2:]:
    data = Path(path).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    try:
        decode(data)
        what = "ok"
    except BadPicture as bad:
        what = bad.reason.value
    print(Path(path).name, what, round(peak() - before))
"""


def test_there_are_ten_kinds_that_are_refused() -> None:
    assert sum(allowed == {"BOMB"} for _, allowed in bombs().values()) >= 10


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peak memory from /proc")
def test_bombs_stay_small(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for form in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        (tmp_path / "good" / form).write_bytes(encoded(noise(), form))
    paths = []
    kinds = bombs()
    for name, (make, _) in kinds.items():
        data = make()
        assert len(data) < 5 * 2**20, name
        (tmp_path / name).write_bytes(data)
        paths.append(str(tmp_path / name))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "good"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    measured = {name: (what, int(more)) for name, what, more in (line.split() for line in done.stdout.splitlines())}
    assert measured.keys() == kinds.keys()
    assert {name: what for name, (what, _) in measured.items() if what not in kinds[name][1]} == {}
    assert {name: more for name, (_, more) in measured.items() if more > MOST} == {}


def test_the_caps_are_told_in_words() -> None:
    with pytest.raises(BadPicture, match="65500 x 65500 pixels; at most 120 megapixels and 60000 a side"):
        decode(bombs()["BMP-side"][0]())
    with pytest.raises(BadPicture, match=r"10900 x 10900 pixels out of \d+ bytes"):
        decode(bombs()["PNG-within-the-cap"][0]())
