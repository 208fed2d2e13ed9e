"""A folder's curve counts what it should, its controls tell a masked gradient, and an interrupt keeps what is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import topwork.attack.folder as folder_module
from running import Cli
from topwork import Classifier
from topwork.attack.bench import BenchSettings
from topwork.attack.controls import Sample, run_controls
from topwork.attack.folder import attack_folder
from topwork.attack.gradient import PGD
from topwork.attack.subject import open_subject
from topwork.attack.victim import network

from .toys import CLASSES, Masked, toy

pytestmark = pytest.mark.usefixtures("warm")
QUICK = ("--epsilon", "2/255,32/255", "--quiet")


@pytest.fixture
def few(painted: Path, tmp_path: Path) -> Path:
    """Two pictures of each class, one of them under a wrong name, and a broken one."""
    for name in sorted(one.name for one in painted.iterdir()):
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(2):
            shutil.copy(painted / name / f"{number:02d}.png", tmp_path / "few" / name)
    shutil.copy(painted / "red bars" / "05.png", tmp_path / "few" / "blue bars" / "wrong.png")
    (tmp_path / "few" / "blue bars" / "broken.png").write_bytes(b"nothing")
    return tmp_path / "few"


def test_the_curve_of_a_folder(bundle: Path, few: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("attack", bundle, few, "--epsilon", "2/255,32/255", "-o", tmp_path / "curve.png", "--json", "--quiet")
    found = json.loads(done.out)
    assert done.code == 3 and "broken.png" in done.err  # one picture could not be used
    assert found["n"] == 8 and found["misread"] == 1 and found["asked"] == 10 and len(found["broken"]) == 1
    curve = found["curve"]
    assert [point["epsilon_255"] for point in curve] == [0, 2, 32]
    assert curve[0]["left"] == 8 and curve[0]["accuracy"] == pytest.approx(8 / 9)
    assert curve[0]["left"] >= curve[1]["left"] >= curve[2]["left"] == 0
    for point in curve:
        assert point["low"] <= point["share"] <= point["high"]
    for row in found["pictures"]:
        assert row["smallest"] <= row["epsilon"] + 1e-6 and row["becomes"] != row["label"] and row["gradients"] > 0
    assert sum(one["count"] for one in found["turned_into"]) == 8
    smallest = [row["smallest"] for row in found["most_fragile"]]
    assert smallest == sorted(smallest)
    assert len(found["controls"]) == 5
    with Image.open(tmp_path / "curve.png") as drawn:
        assert drawn.size[0] > 1000


def test_through_files_what_counts_is_the_saved_png(bundle: Path, few: Path) -> None:
    settings = BenchSettings(epsilons=(0.5 / 255, 32 / 255), through="file", controls=False)
    found = attack_folder(open_subject(bundle), few, settings).to_config()
    assert [point["epsilon_255"] for point in found["curve"]] == [0, 32]  # half a level cannot be saved
    assert found["curve"][-1]["left"] == 0
    for row in found["pictures"]:
        assert row["smallest"] * 255 == pytest.approx(round(row["smallest"] * 255), abs=1e-3)


def test_drawn_targets_and_the_smallest_change(bundle: Path, few: Path) -> None:
    subject = open_subject(bundle)
    random = attack_folder(subject, few, BenchSettings(epsilons=(48 / 255,), target="random", controls=False))
    assert all(row.becomes != row.label for row in random.rows if row.becomes) and random.curve()[-1]["share"] < 0.5
    fixed = attack_folder(subject, few, BenchSettings(epsilons=(48 / 255,), target="red bars", controls=False))
    assert {row.becomes for row in fixed.rows} <= {"red bars", None} and "red bars" not in {row.label for row in fixed.rows}
    plain = attack_folder(subject, few, BenchSettings(epsilons=(48 / 255,), norm="linf", controls=False))
    looked = attack_folder(subject, few, BenchSettings(epsilons=(48 / 255,), smallest=True, controls=False))
    pairs = list(zip(plain.rows, looked.rows, strict=True))
    assert all((other.smallest or 1) <= (one.smallest or 1) + 1e-6 for one, other in pairs)
    assert any((other.smallest or 1) < 0.9 * (one.smallest or 1) for one, other in pairs)


def test_pictures_of_the_target_are_not_misread(bundle: Path, few: Path, cli: Cli) -> None:
    done = cli("attack", bundle, few, *QUICK, "--target", "red bars", "--json")
    found = json.loads(done.out)
    assert found["misread"] == 1 and found["showing_target"] == 2 and found["n"] == 6
    assert found["curve"][0]["accuracy"] == pytest.approx(6 / 7)
    said = cli("attack", bundle, few, *QUICK, "--target", "red bars").out
    assert "(1 misread do not count, nor 2 that show the target already)" in said
    for name in ("blue bars", "blue checks", "red checks"):
        shutil.rmtree(few / name, ignore_errors=True)
    assert "show red bars already" in cli("attack", bundle, few, *QUICK, "--target", "red bars").err
    assert "takes no target" in cli("attack", bundle, few, *QUICK, "--target", "random", "--attack", "deepfool").err


def test_what_was_found_beyond_the_curve_is_told(bundle: Path, few: Path) -> None:
    settings = BenchSettings("fgsm", epsilons=(1e-6, 0.5), smallest=True, controls=False)
    found = attack_folder(open_subject(bundle), few, settings)
    assert all(row.smallest and row.becomes not in (None, row.label) for row in found.rows)
    weak = attack_folder(open_subject(bundle), few, BenchSettings("fgsm", epsilons=(1e-6,), smallest=True, controls=False))
    assert all(row.smallest and row.becomes and row.epsilon is None for row in weak.rows)
    assert weak.curve()[-1]["share"] == 1 and weak.to_config()["never_fooled"] == 0


def test_a_length_holds_for_the_saved_file(bundle: Path, few: Path) -> None:
    settings = BenchSettings(norm="l2", epsilons=(4.0, 16.0), through="file", controls=False)
    found = attack_folder(open_subject(bundle), few, settings)
    fooled = [row for row in found.rows if row.smallest is not None]
    assert fooled and all((row.smallest or 0) <= (row.epsilon or 0) + 1e-4 for row in fooled)
    for row in fooled:  # squares of whole levels
        squares = ((row.smallest or 0) * 255) ** 2
        assert squares == pytest.approx(round(squares), abs=0.05 + 1e-4 * squares)


def test_of_more_pictures_as_many_as_wanted_are_drawn(bundle: Path, few: Path, cli: Cli) -> None:
    found = [json.loads(cli("attack", bundle, few, *QUICK, "--most", "4", "--seed", seed, "--json").out) for seed in (1, 1, 2)]
    assert all(one["asked"] == 4 and "4 of 10 pictures were drawn (--most)" in one["notes"] for one in found)
    drawn = [{row["path"] for row in one["pictures"]} for one in found]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_interrupt_keeps_what_is_finished(bundle: Path, painted: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "BATCH", 4)
    work, calls = folder_module._Worker.work, []

    def interrupted(self: folder_module._Worker, batch: folder_module._Batch) -> None:
        calls.append(len(batch.records))
        if len(calls) == 3:
            raise KeyboardInterrupt
        work(self, batch)

    monkeypatch.setattr(folder_module._Worker, "work", interrupted)
    done = cli("attack", bundle, painted, "--epsilon", "2/255,32/255", "--json", "--quiet")
    found = json.loads(done.out)
    assert done.code == 130 and "interrupted; the 8 pictures that were finished are told" in done.err
    assert found["interrupted"] and found["n"] == 8 and calls == [4, 4, 4]


def test_what_a_folder_gave_stands_in_the_report(bundle: Path, few: Path, cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "own.topwork"
    shutil.copytree(bundle, own)
    before = Classifier.load(own).predict(few).probs
    done = cli("attack", own, few, *QUICK, "--report")
    assert done.code == 3, done.err
    page = (own / "report.html").read_text()
    assert 'id="attack"' in page and "How little it takes to fool it" in page and "more steps are never weaker" in page
    assert Classifier.load(own).facts["attack"]["n"] == 8
    assert np.array_equal(Classifier.load(own).predict(few).probs, before, equal_nan=True)
    assert 'id="attack"' not in (bundle / "report.html").read_text()


def test_a_folder_that_cannot_be_measured_is_told(bundle: Path, painted: Path, tmp_path: Path, cli: Cli) -> None:
    flat, other = tmp_path / "flat", tmp_path / "other"
    for name in ("a", "b"):
        (other / name).mkdir(parents=True)
        shutil.copy(painted / "red bars" / "00.png", other / name)
    flat.mkdir()
    shutil.copy(painted / "red bars" / "00.png", flat)
    assert "no class folders" in cli("attack", bundle, flat, *QUICK).err
    assert "does not know: a, b" in cli("attack", bundle, other, *QUICK).err
    for name in ("blue bars", "blue checks"):
        (tmp_path / "wrong" / name).mkdir(parents=True)
        shutil.copy(painted / "red bars" / "00.png", tmp_path / "wrong" / name)
    assert "none of 2 pictures is read rightly" in cli("attack", bundle, tmp_path / "wrong", *QUICK).err
    assert "no such class" in cli("attack", bundle, painted, *QUICK, "--target", "green bars").err


def test_controls_pass_for_an_honest_network_and_tell_a_masked_gradient() -> None:
    victim, images, labels = toy()
    sample, epsilons = Sample(images, labels), (0.01, 0.1)

    def told(module: torch.nn.Module) -> dict[str, bool]:
        one = network(module, CLASSES)
        found = PGD(random_start=False)(one, images, labels, epsilons)
        curve = [{"epsilon": size, "share": float(left)} for size, left in zip(epsilons, found.left, strict=True)]
        controls = run_controls(one, sample, PGD(random_start=False), epsilons, curve, BenchSettings())
        return {control.name: control.passed for control in controls}

    assert all(told(victim.module).values())
    masked = told(Masked(victim.module))
    assert not masked["a large epsilon leaves nothing"] and not masked["a black box is not stronger"]
    assert not masked["noise of the same size does less"]


def test_controls_take_the_steps_asked_for_and_pictures_that_are_right() -> None:
    victim, images, labels = toy()
    wrong = labels.clone()
    wrong[0] = (wrong[0] + 1) % CLASSES
    curve = [{"epsilon": 0.01, "share": 1.0}]
    found = run_controls(victim, Sample(images, wrong), PGD(), (0.01,), curve, BenchSettings(steps=8))
    told = {one.name: one.measured for one in found}
    assert f"of {len(labels) - 1} pictures" in told["noise of the same size does less"]
    assert "2 steps leave" in told["more steps are never weaker"] and "and 8 leave" in told["more steps are never weaker"]
    assert not run_controls(victim, Sample(images[:1], wrong[:1]), PGD(), (0.01,), curve, BenchSettings())
