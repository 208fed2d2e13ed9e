"""topwork finetune from end to end, on drawn pictures and the real network."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from running import Cli
from topwork.classifier import Classifier
from topwork.errors import InputError
from topwork.finetune.comparing import Comparison
from topwork.finetune.state import State
from topwork.grafted import grafted

pytestmark = pytest.mark.usefixtures("warm")

LEARNED = {"unfreeze": "1", "epochs": 2, "views": 2, "force": True, "rate": 1e-3}
"""How the bundle `tuned` came to be."""


@pytest.fixture(scope="module")
def tuned(bundle: Path, painted: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose last block was trained on, taken whatever came of it."""
    from topwork.finetune.workshop import finetune

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPWORK_CACHE", str(shared_cache))
        said: list[str] = []
        found = finetune(Classifier.load(bundle), painted, **LEARNED, say=said.append)
        assert any("scratch: up to" in line for line in said)
        assert found.taken and found.classifier.facts["finetune"]["epochs"] == 2
        out = tmp_path_factory.mktemp("tuned") / "tuned.topwork"
        found.classifier.save(out)
    return out


def test_the_new_bundle_answers_with_the_new_network(tuned: Path, bundle: Path, painted: Path) -> None:
    before, after = Classifier.load(bundle), Classifier.load(tuned)
    assert after.spec.weights_sha256 != before.spec.weights_sha256 and after.spec.fingerprint != before.spec.fingerprint
    files = sorted(painted.glob("*/*.png"))[::5]
    answers = after.predict(files)
    assert not np.allclose(answers.probs, before.predict(files).probs, atol=1e-6)
    # The engine file, the weights and the head tell the same story.
    from topwork.pictures.decode import decode, read_bytes, to_pixels

    pixels = np.stack([to_pixels(decode(read_bytes(file)).image, after.spec.geometry) for file in files])
    network = grafted(after)
    with torch.inference_mode():
        probs = network.probs(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    if not after.head.mirrored:
        close = 2e-3 if after.engine.precision == "f32" else 2e-2
        np.testing.assert_allclose(answers.probs, probs.numpy(), atol=close)


def test_its_report_tells_of_the_fine_tuning(tuned: Path) -> None:
    report = (tuned / "report.html").read_text()
    assert 'id="finetuning"' in report and "Learning curves" in report and "Backbone, fine-tuned" in report
    assert "it learned again from all" in report and "McNemar" in report and "mcnemar" not in report
    facts = json.loads((tuned / "metrics.json").read_text())
    told = facts["finetune"]
    assert [row["epoch"] for row in told["history"]] == [0, 1, 2]
    assert facts["data"]["validation"] and told["test"]["n"] == facts["data"]["test"] == facts["score"]["n"]
    assert told["scratch_bytes"] > 0


def test_it_learned_again_from_all_pictures(tuned: Path, bundle: Path, painted: Path) -> None:
    from topwork.finetune.workshop import finetune

    facts = json.loads((tuned / "metrics.json").read_text())
    told, data = facts["finetune"], facts["data"]
    assert told["refit"] == {"pictures": data["train"] + data["validation"], "epochs": told["best_epoch"]}
    once = finetune(Classifier.load(bundle), painted, **LEARNED, refit="none")
    # The same choice on the same held-out pictures, another network.
    assert once.classifier.facts["finetune"]["refit"] is None and once.validation.to_config() == told["validation"]
    again = Classifier.load(tuned)
    assert once.classifier.spec.weights_sha256 != again.spec.weights_sha256
    assert once.classifier.head.temperature == again.head.temperature
    assert once.classifier.strangers.threshold == again.strangers.threshold


def test_learning_again_goes_on_where_it_was_ended(
    tuned: Path, bundle: Path, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topwork.finetune import workshop

    write = workshop.write_states

    def ended(path: Path, states: Sequence[State], *rest: Any) -> None:
        write(path, states, *rest)
        if len(states) == 2:
            raise KeyboardInterrupt

    how = {**LEARNED, "checkpoint": tmp_path / "state"}
    with monkeypatch.context() as patch:
        patch.setattr(workshop, "write_states", ended)
        first = workshop.finetune(Classifier.load(bundle), painted, **how)
    assert first.interrupted and first.classifier.facts["finetune"]["refit"] is None
    monkeypatch.setattr(workshop, "confirmed", None)  # what was decided is not decided again
    again = workshop.finetune(Classifier.load(bundle), painted, **how, resume=True)
    whole = Classifier.load(tuned)
    assert again.classifier.spec.weights_sha256 == whole.spec.weights_sha256 != first.classifier.spec.weights_sha256
    assert again.validation.to_config() == whole.facts["finetune"]["validation"]


def test_statistics_are_updated_where_that_is_asked_for_and_nowhere_else(bundle: Path, painted: Path) -> None:
    from topwork.finetune.workshop import finetune

    before = grafted(Classifier.load(bundle)).backbone.network.state_dict()
    how = {**LEARNED, "epochs": 1, "interpolation": "none", "refit": "none"}
    for wanted in ("frozen", "updated"):
        found = finetune(Classifier.load(bundle), painted, **how, batch_norm=wanted)
        assert found.classifier.facts["finetune"]["best_epoch"] == 1
        after = grafted(found.classifier).backbone.network.state_dict()
        changed = {name for name, one in after.items() if not torch.equal(one, before[name])}
        statistics = {name for name in changed if "running" in name}
        assert changed - statistics and bool(statistics) == (wanted == "updated")
        assert all(name.startswith(("blocks.6.0.", "conv_head.", "bn2.")) for name in changed)


def test_a_gain_in_doubt_is_judged_on_more_folds(bundle: Path, painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from topwork.finetune import outcome, workshop

    looks: list[int] = []

    def doubting(validation: Comparison, allowed: int) -> tuple[str, str]:
        looks.append(validation.n)
        return ("doubt" if len(looks) < 3 else "yes"), f"{allowed} looks"

    monkeypatch.setattr(outcome, "decided", doubting)
    said: list[str] = []
    how = {"unfreeze": "head", "epochs": 2, "head_start": "zeros", "rate": 1e-2, "folds": 4}
    found = workshop.finetune(Classifier.load(bundle), painted, say=said.append, **how)
    assert looks == sorted(set(looks)) and len(looks) == 3  # more pictures each time, none twice
    facts = found.classifier.facts["finetune"]
    assert found.validation.n == looks[-1] and found.helped and "4 looks" in facts["reasons"]["fine-tuned"]
    assert sum("learns once more with others held out" in line for line in said) == 2
    assert facts["refit"]


def test_folds_go_on_where_they_were_ended(
    bundle: Path, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topwork.finetune import again, outcome, workshop

    monkeypatch.setattr(outcome, "decided", lambda validation, allowed: ("doubt", f"{allowed} looks"))
    how = {"unfreeze": "head", "epochs": 2, "head_start": "zeros", "rate": 1e-2, "folds": 4, "checkpoint": tmp_path / "state"}
    learn_again = again.learn_again
    learned: list[int] = []

    def ended(*given: Any) -> State:
        learned.append(len(given[-1]))
        state = learn_again(*given)
        state.interrupted = len(learned) == 2
        return state

    monkeypatch.setattr(again, "learn_again", ended)
    first = workshop.finetune(Classifier.load(bundle), painted, **how)
    assert first.interrupted and len(learned) == 2 and first.validation.n > 0
    whole = workshop.finetune(Classifier.load(bundle), painted, **how, resume=True)
    assert len(learned) == 4  # the second fold anew, and the third; not the first
    assert whole.validation.n > first.validation.n and not whole.interrupted
    straight = workshop.finetune(Classifier.load(bundle), painted, **how)
    assert straight.validation.to_config() == whole.validation.to_config()


def test_folds_hold_every_picture_out_once(bundle: Path, painted: Path) -> None:
    from topwork.finetune.again import folds_of
    from topwork.finetune.job import job_of
    from topwork.finetune.reading import read
    from topwork.finetune.settings import FinetuneSettings
    from topwork.pictures.sources import labelled_records

    classifier, settings = Classifier.load(bundle), FinetuneSettings(validation_share=0.25)
    with labelled_records(painted) as records:
        seen = read(classifier, records, settings.validation_share, settings.seed)
    job = job_of(classifier, seen, settings, print, None, 0.0)
    folds = list(folds_of(job))
    assert len(folds) == round(len(seen.learn) / len(seen.validation))
    assert sorted(np.concatenate(folds)) == list(range(len(seen.learn)))
    groups = [set(seen.copies.groups[seen.learn[fold]]) for fold in folds]
    assert not any(one & other for one, other in itertools.combinations(groups, 2))


def test_a_fine_tuned_network_has_no_name_to_be_fetched_by(tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Save it whole"):
        Classifier.load(tuned).save(tmp_path / "slim.topwork", slim=True)


def test_the_probe_is_kept_where_nothing_is_gained(bundle: Path, painted: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "new.topwork"
    done = cli(
        "finetune", bundle, painted, "-o", out, "--unfreeze", "head", "--epochs", 1, "--curves", tmp_path / "c.jsonl", "--json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert not found["helped"] and not found["taken"]
    assert found["sentence"].startswith("fine-tuning did not help: ")
    assert (out / "backbone.safetensors").read_bytes() == (bundle / "backbone.safetensors").read_bytes()
    assert (out / "head.safetensors").read_bytes() == (bundle / "head.safetensors").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1] and rows == found["history"]
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "cache") == ["c.jsonl", "new.topwork"]


def test_test_pictures_change_nothing_but_what_is_told(bundle: Path, painted: Path) -> None:
    """The same learning, whatever the test pictures are."""
    from topwork.finetune.workshop import finetune

    before = Classifier.load(bundle)
    rows = [(file, file.parent.name) for file in sorted(painted.glob("*/*.png"))]
    shas = dict(zip([str(file) for file, _ in rows], before.features(_records(before, rows))[0].sha256, strict=True))
    tested = set(before.splits["test"])
    train = [row for row in rows if shas[str(row[0])] not in tested]
    test = [row for row in rows if shas[str(row[0])] in tested]
    one = finetune(before, rows, unfreeze="head", epochs=2, force=True)
    other = finetune(before, train + test[:2], unfreeze="head", epochs=2, force=True)
    assert one.test.n == len(test) > other.test.n == 2
    np.testing.assert_array_equal(one.classifier.head.weight, other.classifier.head.weight)
    assert one.validation == other.validation


def _records(classifier: Classifier, rows: list[tuple[Path, str]]):  # type: ignore[no-untyped-def]
    from topwork.pictures.records import from_pairs

    return classifier.known(from_pairs(rows))


def test_mistakes_are_told(bundle: Path, painted: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "new.topwork"
    folder = tmp_path / "other"
    shutil.copytree(painted, folder)
    (folder / "red bars").rename(folder / "green bars")
    done = cli("finetune", bundle, folder, "-o", out)
    assert done.code == 1 and "green bars" in done.err and "--new-head" in done.err
    few = tmp_path / "few"
    for name in ("red bars", "red checks", "blue bars", "blue checks"):
        (few / name).mkdir(parents=True)
        shutil.copyfile(painted / name / "00.png", few / name / "00.png")
    done = cli("finetune", bundle, few, "-o", out, "--test", painted)
    assert done.code == 1 and "at least 4 a class" in done.err
    done = cli("finetune", bundle, painted, "-o", out, "--unfreeze", "99")
    assert done.code == 1 and "has 16 blocks" in done.err
    done = cli("finetune", bundle, painted, "-o", out, "--unfreeze", "some")
    assert done.code == 1 and "auto, head, all or a number of blocks" in done.err
    done = cli("finetune", bundle, painted, "-o", out, "--resume", "--unfreeze", "head")
    assert done.code == 1 and "nothing to resume" in done.err
    done = cli(
        "finetune",
        bundle,
        painted,
        "-o",
        out,
        "--unfreeze",
        "head",
        "--optimiser",
        "sgd",
        "--rate",
        100,
        "--clip",
        0,
        "--l2-sp",
        5,
    )
    assert done.code == 1 and "the steps are too long" in done.err and "--rate 10" in done.err
    done = cli("finetune", bundle, painted, "-o", out, "--unfreeze", "1", "--scratch", 1e-6)
    assert done.code == 1 and "--scratch" in done.err and "expected room for" in done.err
    done = cli("finetune", bundle, painted, "-o", out, "--unfreeze", "1", "--lora", 4)
    assert done.code == 1 and "no linear layers" in done.err
    for words, says in (
        (("--lora", 4, "--unfreeze", "head"), "nothing of the network learns"),
        (("--mixing", "cutmix", "--unfreeze", "head"), "Take mixup instead"),
        (("--find-rate", tmp_path / "rate.txt"), "ending in .png, .svg or .pdf"),
        (("--find-rate", tmp_path / "nowhere" / "rate.png"), "does not exist. Make it first"),
        *(() if torch.cuda.is_available() else ((("--device", "cuda"), "there is no GPU"),)),
    ):
        done = cli("finetune", bundle, painted, "-o", out, *words)
        assert done.code == 1 and says in done.err, done.err
    assert not out.exists()


def test_a_network_that_learned_from_the_test_is_not_tested_by_it(
    tuned: Path, bundle: Path, painted: Path, tmp_path: Path, cli: Cli
) -> None:
    from topwork.finetune.reading import fair, read
    from topwork.pictures.sources import labelled_records

    learned, plain = Classifier.load(tuned), Classifier.load(bundle)
    turned = replace(plain, splits={"train": plain.splits["test"], "test": learned.splits["train"][:3]})
    with pytest.raises(InputError, match="has learned from 3 of the test pictures"):
        fair(learned, turned)
    assert fair(plain, turned) is turned
    with labelled_records(painted) as records:
        assert any("judged too kindly" in note for note in read(learned, records, 0.25, 0).notes)
        before = read(plain, records, 0.25, 0)
    assert not any("judged too kindly" in note for note in before.notes)
    folder = tmp_path / "more"
    shutil.copytree(painted, folder)
    copied = Path(before.found.records.rows[before.test[0]].path)
    with Image.open(copied) as image:
        image.save(folder / copied.parent.name / "copy.png", compress_level=1)  # the same picture, another file
    with labelled_records(folder) as records:
        seen = read(plain, records, 0.25, 0)
    assert "1 new pictures are near-copies of test pictures, left out" in seen.notes
    assert len(seen.learn) + len(seen.validation) == len(before.learn) + len(before.validation)


def test_a_rate_is_found_and_drawn(bundle: Path, painted: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli(
        "finetune",
        bundle,
        painted,
        "-o",
        tmp_path / "x.topwork",
        "--unfreeze",
        "head",
        "--find-rate",
        tmp_path / "rate.png",
        "--json",
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert 1e-6 < found["suggested_rate"] < 1 and len(found["rates"]) == len(found["losses"]) > 10
    assert (tmp_path / "rate.png").stat().st_size > 5000
    assert not (tmp_path / "x.topwork").exists()
