"""Adversarial training: on a toy it learns what an attack cannot take away; and the command from end to end."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from running import Cli
from topwork.attack.bench import BenchSettings
from topwork.attack.folder import attack_records
from topwork.attack.gradient import PGD
from topwork.attack.subject import open_subject
from topwork.attack.victim import network
from topwork.classifier import extract_for
from topwork.commands.app import run
from topwork.errors import InputError
from topwork.finetune import frozen as cold
from topwork.finetune.adversarial import STEPS, hardening, withstands
from topwork.finetune.ground import Ground
from topwork.finetune.loop import learn, validate
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.state import Epoch, State
from topwork.finetune.tricks import Tricks
from topwork.pictures.records import read_records
from topwork.zoo import load_backbone

SIDE, COUNT = 8, 240
SETTINGS = FinetuneSettings(adversarial=True, unfreeze="all", epsilon=8 / 255)
TRICKS = Tricks(epochs=10, batch_size=16, rate=0.01, patience=0, averaging="none", label_smoothing=0.0)


class Pixels:
    """Pictures whose class shows in the upper half of four in five, plainly, and in the lower half of all of them, faintly.

    A network that learns from them as they are relies on the faint half, which an attack takes away (Tsipras 2019).
    """

    views = 1

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.labels = np.arange(COUNT) % 2
        pixels = np.full((COUNT, SIDE, SIDE, 3), 128.0)
        seen = np.where(draw.random(COUNT) < 0.8, self.labels, 1 - self.labels) * 2 - 1
        pixels[:, : SIDE // 2] += 25 * seen[:, None, None, None]
        pixels[:, SIDE // 2 :] += 4 * (self.labels * 2 - 1)[:, None, None, None]
        self.pixels = (pixels + draw.normal(0, 1.0, pixels.shape)).round().astype(np.uint8)

    def ensure(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> None:
        pass

    def batch(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.pixels[pictures].reshape(len(pictures), -1))


class Halves(nn.Module):
    """A linear look at pixels laid flat."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIDE * SIDE * 3, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.head(rows.float() / 255 - 0.5)
        return logits


def ground(hard: bool) -> Ground:
    data = Pixels()
    harden = hardening(SETTINGS, SIDE) if hard else None
    return Ground(data, data.labels, np.arange(160), np.arange(160, COUNT), 2, harden=harden)


def left(model: nn.Module) -> tuple[float, float]:
    """(accuracy, accuracy under PGD) of all pictures, by an attack that the learning did not see."""
    data = Pixels()
    images = torch.from_numpy(data.pixels).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(data.labels)
    victim = network(nn.Sequential(_Flat(), model), 2)
    right = victim.exact(images).argmax(1) == labels
    found = PGD(steps=10, step=0.25)(victim, images, labels, [SETTINGS.epsilon])
    return float(right.float().mean()), float((right & ~found.success[0]).float().mean())


class _Flat(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images * 255).permute(0, 2, 3, 1).flatten(1)


def test_it_learns_what_an_attack_cannot_take_away() -> None:
    plain, hard = Halves(), Halves()
    learn(plain, ground(False), TRICKS)
    state = learn(hard, ground(True), TRICKS)
    (clean, attacked), (hard_clean, hard_attacked) = left(plain), left(hard)
    assert clean > 0.98 and attacked < 0.1
    assert hard_attacked > 0.6 and hard_clean < clean  # four in five is the most that is left
    assert state.best_epoch > 0 and withstands(state, ground(True).labels[ground(True).validation])[0]


def test_the_strength_rises_and_labels_stay_unseen_but_for_validation() -> None:
    seen: list[tuple[bool, float]] = []

    def note(_model: nn.Module, rows: Tensor, labels: Tensor | None, share: float, _generator: torch.Generator) -> Tensor:
        seen.append((labels is None, share))
        return rows

    learn(Halves(), replace(ground(True), harden=note), replace(TRICKS, epochs=4))
    learned = [share for unseen, share in seen if unseen]
    assert len(learned) == 4 * 10 and learned == sorted(learned)
    assert learned[0] == pytest.approx(0.05) and learned[19:] == [1.0] * 21
    assert {share for unseen, share in seen if not unseen} == {1.0}


def test_patience_waits_until_the_attack_is_at_full_strength() -> None:
    tricks = replace(TRICKS, epochs=8, patience=1, rate=1e-9)
    assert learn(Halves(), ground(True), tricks).epochs >= 5


def test_the_same_seed_gives_the_same_weights_and_a_run_goes_on_bit_by_bit() -> None:
    whole, again, late = Halves(), Halves(), Halves()
    states: list[State] = []

    def keep(now: State) -> None:
        weights = {name: one.clone() for name, one in now.weights.items()}
        optimiser = {**now.optimiser, "state": {k: {**v} for k, v in now.optimiser["state"].items()}}
        kept = replace(now, weights=weights, optimiser=optimiser, history=list(now.history))
        states.append(kept)

    tricks = replace(TRICKS, epochs=3, optimiser="sgd")
    learn(whole, ground(True), tricks, keep=keep)
    learn(again, ground(True), tricks)
    learn(late, ground(True), tricks, states[0])
    for other in (again, late):
        assert torch.equal(whole.head.weight, other.head.weight)
    assert validate(whole, ground(True), tricks)[:2] == validate(late, ground(True), tricks)[:2]


def rows(*accuracies: float) -> list[Epoch]:
    return [Epoch(place, None, None, 1 - 0.1 * place, one, 0.0, 0.0, 0.0) for place, one in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "taken"),
    [((0.1, 0.7), True), ((0.1, 0.5), False), ((0.9, 0.8), False), ((0.1,), False)],
    ids=["withstands more", "says the same of all", "withstands less", "learned nothing"],
)
def test_only_what_withstands_more_is_taken(accuracies: tuple[float, ...], taken: bool) -> None:
    labels = np.array([0, 1] * 10)
    state = State({}, {}, None, 0, {}, len(accuracies) - 1, rows(*accuracies))
    found, why = withstands(state, labels)
    assert found == taken and "20 attacked validation pictures" in why and "50.0%" in why


def test_the_whole_network_runs_and_only_the_last_blocks_learn() -> None:
    backbone = load_backbone("timm:test_efficientnet", "random")
    cut = cold.cuts_of(backbone)[1]
    part = cold.whole(backbone, cut)
    size = backbone.spec.geometry.size
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = backbone(images.permute(0, 3, 1, 2).float() / 255)
    leaf = images.flatten(1).float().requires_grad_(True)
    features = part(leaf)
    torch.testing.assert_close(features, expected, atol=1e-3, rtol=1e-3)
    features.sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None and leaf.grad.abs().sum() > 0
    learning = {name for name, one in part.named_parameters() if one.requires_grad}
    assert learning and part.names[0] == cut
    assert all(any(name.startswith(f"network.{block}.") for block in part.names) for name in learning)
    assert {name.split(".")[1] for name, one in part.named_parameters() if not one.requires_grad} - {"classifier"}


@dataclass(frozen=True)
class Made:
    """What the command made."""

    code: int
    found: dict[str, Any]
    before: Path
    after: Path
    figure: Path


@pytest.fixture(scope="module")
def made(painted: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A classifier on a tiny network, and what two epochs against attacks made of it, taken whatever came of it."""
    folder = tmp_path_factory.mktemp("hard")
    before, after, figure = (folder / name for name in ("tiny.topwork", "hard.topwork", "curve.png"))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setenv("TOPWORK_CACHE", str(shared_cache))
        words = ["fit", painted, "-o", before, "-q", "-b", "timm:test_efficientnet", "--weights", "random"]
        assert run([str(word) for word in [*words, "--engine", "openvino"]]) == 0
        out.truncate(0)
        out.seek(0)
        words = ["finetune", before, painted, "-o", after, "--adversarial", "--unfreeze", "2", "--epsilon", "2/255", "--force"]
        words += ["--epochs", "2", "--views", "1", "--rate", "1e-4", "--robustness", figure, "--json", "-q"]
        code = run([str(word) for word in words])
    return Made(code, json.loads(out.getvalue()), before, after, figure)


def test_the_command_tells_both_accuracies_before_and_after(made: Made) -> None:
    found = made.found["robustness"]
    assert made.code == 0 and made.found["taken"] and made.found["unfreeze"] == "2"
    assert found["epsilon"] == pytest.approx(2 / 255) and "PGD(" in found["attack"] and len(found["controls"]) == 5
    assert [point["epsilon_255"] for point in found["before"]] == [0, 0.5, 1, 2, 4]
    for key in ("before", "after"):
        shares = [point["accuracy"] for point in found[key]]
        assert shares[0] == pytest.approx(made.found["test"][key]) and shares == sorted(shares, reverse=True)
        assert all(point["low"] <= point["accuracy"] <= point["high"] and point["n"] == 8 for point in found[key])
    after = 100 * next(point["accuracy"] for point in found["after"] if point["epsilon_255"] == 2)
    assert made.found["sentence"].startswith("adversarial training: attacked at 2/255, ")
    assert (
        f"to {after:.1f} %" in made.found["sentence"]
        and f"{100 * made.found['test']['before']:.1f} %" in made.found["sentence"]
    )
    with Image.open(made.figure) as drawn:
        assert drawn.size[0] > 800


def test_what_is_told_is_true_of_the_bundle(made: Made, painted: Path, warm: Path) -> None:
    """The saved bundle, attacked again by itself, is left with what was told."""
    subject = open_subject(made.after)
    classifier = subject.classifier
    assert classifier is not None
    every = extract_for(classifier.spec, classifier.engine, classifier.known(read_records(painted)), True)
    tested = [sha in set(classifier.splits["test"]) for sha in every.sha256]
    how = BenchSettings(steps=STEPS, epsilons=(2 / 255,), controls=False)
    bench = attack_records(subject, every.records.select(tested), how)
    left = sum(row.epsilon is None for row in bench.rows) / bench.asked
    told = next(point for point in made.found["robustness"]["after"] if point["epsilon_255"] == 2)
    assert told["n"] == bench.asked and told["accuracy"] == pytest.approx(left)


def test_only_the_last_blocks_changed_and_the_report_shows_the_curve(made: Made) -> None:
    before, after = (load_file(bundle / "backbone.safetensors") for bundle in (made.before, made.after))
    changed = {name for name, one in after.items() if not torch.equal(one, before[name])}
    assert changed and before.keys() == after.keys()
    backbone = load_backbone("timm:test_efficientnet", "random")
    learned = cold.whole(backbone, cold.cuts_of(backbone)[1]).names
    assert all(name.startswith(tuple(f"{block}." for block in learned)) for name in changed)
    assert json.loads((made.after / "metrics.json").read_text())["finetune"]["first_block"] == learned[0]
    report = (made.after / "report.html").read_text()
    assert (
        "Under attack, before and after" in report
        and "Can this be believed?" in report
        and "attacked at full strength" in report
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--adversarial", "--unfreeze", "head"], "Use --unfreeze all, or a number of blocks"),
        (["--epsilon", "4/255"], "--epsilon: only with --adversarial"),
        (["--attack-steps", "2", "--robustness", "x.png"], "--attack-steps, --robustness: only with --adversarial"),
        (["--adversarial", "--epsilon", "4"], "Did you mean 4/255?"),
        (["--adversarial", "--epsilon", "0"], "expected a strength above 0"),
        (["--adversarial", "--find-rate", "x.png"], "Leave --adversarial out"),
    ],
)
def test_a_mistake_is_one_message(
    words: list[str], says: str, made: Made, painted: Path, tmp_path: Path, cli: Cli, warm: Path
) -> None:
    done = cli("finetune", made.before, painted, "-o", tmp_path / "new.topwork", *words)
    assert done.code == 1 and done.out == "" and says in done.err and "Traceback" not in done.err
    assert not (tmp_path / "new.topwork").exists()


@pytest.mark.parametrize(("name", "value"), [("epsilon", 0.0), ("epsilon", 1.5), ("attack_steps", 0)])
def test_settings_are_checked_where_they_are_made(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        FinetuneSettings(adversarial=True, **{name: value})  # type: ignore[arg-type]
