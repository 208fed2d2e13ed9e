from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toys import CLASSES, ToyData, ToyNetwork, toy_ground

from topwork.errors import InputError, StorageError
from topwork.finetune.batches import class_weights, cross_entropy
from topwork.finetune.checkpoints import read_states, write_states
from topwork.finetune.loop import SHARES, answers, learn, learn_again, validate, views_of
from topwork.finetune.optimise import groups_of, rate_factor
from topwork.finetune.state import State
from topwork.finetune.tricks import HEAD_STARTS, OPTIMISERS, SCHEDULES, Tricks

BASE = Tricks(
    epochs=4, batch_size=16, rate=0.02, patience=0, label_smoothing=0.0, warm_up=0.1, averaging="none", interpolation="none"
)


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.clone() for name, one in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_learns(optimiser: str) -> None:
    rate = {"sgd": 1.0, "momentum": 0.2, "nesterov": 0.2, "adagrad": 0.1}.get(optimiser, 0.02)
    model = ToyNetwork()
    state = learn(model, toy_ground(), replace(BASE, optimiser=optimiser, rate=rate, epochs=6))
    assert state.best_row.loss < 0.7 * state.history[0].loss
    assert state.best_row.accuracy > 0.75


@pytest.mark.parametrize(
    "change",
    [
        {"averaging": "ema"},
        {"averaging": "swa"},
        {"mixing": "mixup"},
        {"mixing": "cutmix"},
        {"batch_norm": "updated"},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"clip": 0.0},
        *({"schedule": name} for name in SCHEDULES),
    ],
    ids=str,
)
def test_every_trick_learns_and_is_more_than_a_name(change: dict[str, object]) -> None:
    plain, tricked = ToyNetwork(), ToyNetwork()
    ground = replace(toy_ground(), train=np.delete(np.arange(80), np.arange(0, 40, 3)))  # classes of different sizes
    base = replace(BASE, clip=0.5)
    learn(plain, ground, base)
    state = learn(tricked, ground, replace(base, **change))
    assert state.best_row.loss < 0.8 * state.history[0].loss
    if change != {"schedule": BASE.schedule}:
        assert not same(weights_of(plain), weights_of(tricked))


def test_frozen_statistics_stay_frozen() -> None:
    """N4."""
    model = ToyNetwork()
    model.behind[1].running_mean.normal_()
    before = weights_of(model)
    learn(model, toy_ground(), BASE)
    after = weights_of(model)
    for name in ("behind.1.running_mean", "behind.1.running_var", "behind.1.num_batches_tracked"):
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["behind.0.weight"], after["behind.0.weight"])
    updated = ToyNetwork()
    state = learn(updated, toy_ground(), replace(BASE, batch_norm="updated"))
    assert state.best_epoch > 0
    assert not torch.equal(weights_of(ToyNetwork())["behind.1.running_mean"], weights_of(updated)["behind.1.running_mean"])


def test_averaged_weights_go_with_averaged_statistics() -> None:
    tricks = replace(BASE, batch_norm="updated", averaging="ema", epochs=2, interpolation="none")
    model = ToyNetwork()
    state = learn(model, replace(toy_ground(), start_counts=False), tricks)
    name = "behind.1.running_mean"
    assert state.average is not None and torch.equal(state.best[name], weights_of(model)[name])
    assert not torch.equal(state.average[name], state.weights[name])
    if state.best_epoch == 2:
        assert torch.equal(state.best[name], state.average[name])


def test_no_batch_of_one_where_batches_have_statistics() -> None:
    count = len(toy_ground().train)
    size = next(size for size in range(2, count) if count % size == 1)
    for batch_norm in ("updated", "frozen"):
        state = learn(ToyNetwork(), toy_ground(), replace(BASE, batch_norm=batch_norm, batch_size=size, epochs=1))
        assert len(state.history) == 2


def test_the_best_weights_come_back_and_the_start_may_be_the_best() -> None:
    model, ground = ToyNetwork(), toy_ground()
    state = learn(model, ground, replace(BASE, rate=0.05, epochs=6))
    assert state.best_row.loss == min(row.loss for row in state.history)
    assert validate(model, ground, BASE)[0] == state.best_row.loss
    learned = weights_of(model)
    state = learn(model, ground, replace(BASE, rate=0.5, epochs=2))
    assert state.best_epoch == 0 and same(learned, weights_of(model))


def test_weights_between_the_first_and_the_best_are_kept_where_they_are_better() -> None:
    model, ground, tricks = ToyNetwork(), toy_ground(), replace(BASE, rate=0.05, epochs=2, interpolation="auto")
    first = weights_of(model)
    state = learn(model, replace(ground, start_counts=False), tricks)
    kept = weights_of(model)
    losses = {}
    for share in (*SHARES, 1.0):
        for name, best in state.best.items():
            model.state_dict()[name].copy_(first[name].lerp(best, share))
        losses[share] = validate(model, ground, tricks)[0]
        if share == state.share:
            assert all(torch.allclose(kept[name], model.state_dict()[name]) for name in kept)
    assert losses[state.share] == pytest.approx(min(losses.values())) and state.share < 1


def test_learning_again_takes_all_pictures_as_far_as_was_best() -> None:
    ground, tricks = toy_ground(), replace(BASE, rate=0.05, epochs=6, interpolation="auto")
    chosen = learn(ToyNetwork(), ground, replace(tricks, interpolation="none"), until=3)
    chosen.share = 0.5
    model, whole = ToyNetwork(), ToyNetwork()
    first = weights_of(model)
    again = learn_again(model, ground, tricks, chosen, np.arange(120))
    assert again.epochs == 3 and again.share == 0.5
    every = replace(ground, train=np.arange(120), validation=np.arange(0))
    last = learn(whole, every, tricks, until=3)
    assert last.best_epoch == 3 and last.share == 1.0  # nothing chooses, so the last is kept, whole
    halfway = {name: first[name].lerp(one, 0.5) for name, one in last.best.items()}
    assert all(torch.equal(model.state_dict()[name], one) for name, one in halfway.items())
    few = learn(ToyNetwork(), replace(every, train=np.arange(80)), tricks, until=3)
    assert not same(few.best, last.best)


def test_learning_again_that_is_ended_says_so() -> None:
    chosen = learn(ToyNetwork(), toy_ground(), BASE)
    ground = replace(toy_ground(), data=Interrupts(KeyboardInterrupt(), epoch=1))
    again = learn_again(ToyNetwork(), ground, BASE, chosen, np.arange(120))
    assert again.interrupted and not again.whole and again.epochs < chosen.epochs


def test_patience_ends_it() -> None:
    state = learn(ToyNetwork(), toy_ground(), replace(BASE, epochs=50, patience=2, rate=0.05))
    assert state.epochs < 50 and state.epochs - state.best_epoch == 2


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    models = [ToyNetwork() for _ in range(3)]
    tricks = replace(BASE, averaging="ema", mixing="mixup")
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.manual_seed(len(models))  # nothing may depend on what others drew
        learn(model, toy_ground(seed), tricks)
        torch.rand(7)
    assert same(weights_of(models[0]), weights_of(models[1]))
    assert not same(weights_of(models[0]), weights_of(models[2]))


def test_a_rate_without_bounds_is_told() -> None:
    with pytest.raises(InputError, match=r"loss is .* in epoch \d+ at rate 100.*--rate 10"):
        learn(ToyNetwork(), toy_ground(), replace(BASE, rate=100, optimiser="sgd", clip=0.0, l2_sp=1.0, epochs=9))


class Interrupts(ToyData):
    """Data whose owner presses Ctrl-C, or whose disk fills, in the third epoch."""

    def __init__(self, fault: BaseException, epoch: int = 3) -> None:
        super().__init__()
        self.fault, self.left = fault, 2 * epoch - 1  # one call for the pictures of an epoch, one for its validation

    def ensure(self, pictures: np.ndarray, views: np.ndarray) -> None:
        if self.left == 0:
            raise self.fault
        self.left -= 1


def test_an_interrupt_keeps_the_best_so_far() -> None:
    model, whole = ToyNetwork(), ToyNetwork()
    state = learn(model, replace(toy_ground(), data=Interrupts(KeyboardInterrupt())), BASE)
    assert state.interrupted and state.epochs == 2
    until_there: list[State] = []
    learn(whole, toy_ground(), BASE, keep=lambda now: until_there.append(replace(now, history=list(now.history))))
    assert state.best_row.loss == until_there[1].best_row.loss and same(state.best, until_there[1].best)
    assert validate(model, toy_ground(), BASE)[0] == state.best_row.loss


def test_a_full_disk_keeps_the_best_so_far_or_ends_it_before_anything_is_done() -> None:
    state = learn(ToyNetwork(), replace(toy_ground(), data=Interrupts(StorageError("full"))), BASE)
    assert str(state.fault) == "full" and state.epochs == 2
    with pytest.raises(StorageError, match="full"):
        learn(ToyNetwork(), replace(toy_ground(), data=Interrupts(StorageError("full"), epoch=1)), BASE)


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize(
    "change", [{}, {"averaging": "ema", "mixing": "cutmix"}, {"averaging": "swa"}, {"optimiser": "momentum"}]
)
def test_a_run_goes_on_bit_by_bit(after: int, change: dict[str, object], tmp_path: Path) -> None:
    tricks = replace(BASE, **change)
    whole, resumed = ToyNetwork(), ToyNetwork()
    states: list[None] = []

    def keep(now: State) -> None:
        states.append(None)
        if len(states) == after:
            write_states(tmp_path / "state", [now], "this run", {"unfreeze": "1"})

    straight = learn(whole, toy_ground(), tricks, keep=keep)
    (state,), depth = read_states(tmp_path / "state", "this run")
    assert depth == {"unfreeze": "1"} and state.epochs == after
    again = learn(resumed, toy_ground(), tricks, state)
    assert same(weights_of(whole), weights_of(resumed)) and same(straight.weights, again.weights)
    timeless = [[replace(row, seconds=0, views_seconds=0) for row in one.history] for one in (straight, again)]
    assert timeless[0] == timeless[1]


def test_a_state_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state"
    learn(ToyNetwork(), toy_ground(), BASE, keep=lambda now: write_states(file, [now], "this run", {}))
    with pytest.raises(InputError, match="another bundle, other pictures or other settings"):
        read_states(file, "another")
    data = file.read_bytes()
    for damaged in (b"", data[:9], data[: len(data) // 2], b"\x80\x04." + data, b"PK\x03\x04" + data):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="Run without --resume"):
            read_states(file, "this run")
    with pytest.raises(InputError, match="nothing to resume"):
        read_states(tmp_path / "none", "this run")


def test_schedules_go_as_they_say() -> None:
    steps = 200
    rates = {
        kind: [rate_factor(step, steps, 10, replace(BASE, schedule=kind, warm_up=0.1)) for step in range(steps)]
        for kind in SCHEDULES
    }
    assert all(0 < rate <= 1 for row in rates.values() for rate in row)
    assert set(rates["constant"]) == {1.0} and set(rates["step"]) == {1.0, 0.1, 0.01}
    assert rates["exponential"][199] == pytest.approx(0.98**9) and rates["exponential"][0] == 1.0
    peak = int(np.argmax(rates["cosine"]))
    assert peak == 20 and rates["cosine"][0] < 0.1 and rates["cosine"][199] < 0.01
    assert all(a <= b for a, b in itertools.pairwise(rates["cosine"][: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates["cosine"][peak:]))
    assert int(np.argmax(rates["one-cycle"])) == 60 and rates["one-cycle"][0] == pytest.approx(1 / 25)


def test_rates_shrink_away_from_the_head_and_biases_never_decay() -> None:
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    tricks = Tricks(rate=0.1, layer_decay=0.5, head_rate=3.0, weight_decay=0.2)
    groups = groups_of(list(model.named_parameters()), ["one.", "two."], tricks)
    found = {id(one): (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    wanted = {"one": 0.05, "two": 0.1, "head": 0.3}
    for name, rate in wanted.items():
        assert found[id(model[name].weight)] == (pytest.approx(rate), 0.2)
        assert found[id(model[name].bias)] == (pytest.approx(rate), 0.0)


def test_l2_sp_keeps_the_weights_near_their_start() -> None:
    def moved(**change: float) -> float:
        model = ToyNetwork()
        before = weights_of(model)
        state = learn(model, toy_ground(), replace(BASE, optimiser="sgd", rate=0.3, weight_decay=0.0, **change))
        return float(sum((state.weights[name] - before[name]).square().sum() for name in state.weights))

    assert moved(l2_sp=0.5) < 0.5 * moved()


def test_class_weights_and_loss_are_those_of_torch() -> None:
    labels = np.array([0] * 30 + [1] * 10 + [2] * 5)
    weight = class_weights(labels, CLASSES, "balanced")
    assert float((weight[torch.from_numpy(labels)]).mean()) == pytest.approx(1.0)
    logits = torch.randn(45, CLASSES, generator=torch.Generator().manual_seed(0))
    hard = nn.functional.one_hot(torch.from_numpy(labels), CLASSES).float()
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(labels), weight, reduction="none").mean()
    assert cross_entropy(logits, hard, weight) == pytest.approx(float(expected), rel=1e-5)


def test_each_epoch_brings_a_new_view_until_all_are_there() -> None:
    draw = np.random.default_rng(0)
    assert [int(views_of(epoch, 5, 3, draw)[0]) for epoch in (1, 2, 3)] == [1, 2, 0]
    assert set(views_of(4, 500, 3, draw)) == {0, 1, 2}
    assert set(views_of(1, 5, 1, draw)) == {0}


def test_answers_come_in_the_order_asked() -> None:
    model, ground = ToyNetwork(), toy_ground()
    rows = np.array([7, 3, 99])
    torch.testing.assert_close(answers(model, ground, rows)[1], answers(model, ground, rows[1:2])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 0),
        ("epochs", 0),
        ("dropout", 1.0),
        ("optimiser", "adamm"),
        ("head_start", "probes"),
        ("views", 0),
        ("clip", -1),
    ],
)
def test_settings_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        Tricks(**{name: value})


def test_every_trick_has_its_reason_and_source() -> None:
    import ast
    import inspect

    body = ast.parse(inspect.getsource(Tricks)).body[0].body[1:]  # type: ignore[attr-defined]
    told = {
        field.target.id: text.value.value
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    assert told.keys() == Tricks.__dataclass_fields__.keys()
    assert HEAD_STARTS[0] == Tricks.head_start
