"""The training loop: epoch after epoch over stored activations, the best weights by validation loss, checkpoints between.

All chance of an epoch comes from (seed, epoch), so a run that is resumed between two goes on bit by bit as it would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from topwork.errors import InputError, StorageError
from topwork.finetune.batches import class_weights, cross_entropy, mixed, targets_of
from topwork.finetune.ground import Ground, Rows
from topwork.finetune.optimise import groups_of, optimiser_of, rate_factor
from topwork.finetune.state import Epoch, State, average_in, copied, load, on_device, statistics
from topwork.finetune.tricks import Tricks
from topwork.heads.calibrate import fit_temperature
from topwork.heads.metrics import accuracy, log_loss

FLOWN = 1e4
"""A loss, in nats, from which nothing comes back; that of a guess among a million classes is 14."""


SHARES = (0.25, 0.5, 0.75)
"""Points between the first weights and the best that are tried."""

RISE = 0.5
"""Share of all steps over which the strength of the attack rises: at full strength from the start, a network that withstands
nothing yet learns to say the same of every picture."""


Told = Callable[[Epoch, int], None]
"""Called after each epoch with it and the number of epochs at most; of a run that goes on, with those before it first."""


def learn(
    model: nn.Module,
    ground: Ground,
    tricks: Tricks,
    state: State | None = None,
    keep: Callable[[State], None] | None = None,
    told: Told | None = None,
    until: int | None = None,
) -> State:
    """The state after the last epoch; the model then holds the best weights, or some between those and the first.

    state: where to go on; keep: called after each epoch with the state, to write a checkpoint; until: the epoch to stop after,
    on the schedule of all. An interrupt from the keyboard ends the loop, not the program, and so does a full disk once there is
    something to keep: what comes back says so. Raises InputError when the loss is no number any more.
    """
    device = torch.device(ground.device)
    model.to(device)
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    first_weights = copied(model)
    began = {name: first_weights[name] for name, _ in named} if tricks.l2_sp else {}
    optimiser = optimiser_of(groups_of(named, ground.blocks, tricks), tricks)
    steps = _steps(len(ground.train), tricks)
    if state is None:
        loss, right, seconds = validate(model, ground, tricks)
        first = Epoch(0, None, None, loss, right, 0.0, seconds, 0.0)
        state = State(first_weights, optimiser.state_dict(), None, 0, first_weights, 0, [first])
    else:
        load(model, state.weights)
        optimiser.load_state_dict(state.optimiser)
        state.best = on_device(device, state.best)
        state.average = None if state.average is None else on_device(device, state.average)
    if told is not None:
        for row in state.history:
            told(row, tricks.epochs)
    try:
        while state.epochs < min(tricks.epochs, until or tricks.epochs) and not _stale(state, ground, tricks):
            _epoch(model, named, began, optimiser, ground, tricks, state, steps)
            if keep is not None:
                keep(state)
            if told is not None:
                told(state.history[-1], tricks.epochs)
    except KeyboardInterrupt:
        state.interrupted = True
    except StorageError as error:
        if not state.epochs:
            raise
        state.fault = error
    load(model, state.best)
    chosen = state.best_epoch > 0 and state.whole and len(ground.validation) > 0
    if tricks.interpolation == "auto" and chosen and ground.harden is None:  # halfway withstands less
        _interpolate(model, first_weights, state, ground, tricks)
    return state


def learn_again(
    model: nn.Module,
    ground: Ground,
    tricks: Tricks,
    chosen: State,
    train: Rows,
    state: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> State:
    """The state after learning from the pictures `train` as many epochs as `chosen` did, with nothing left to choose.

    The model then holds the last weights, or those as far from the first as was best: what was chosen on held-out pictures
    holds for others of the same kind (Goodfellow, Bengio and Courville 2016, section 7.8). The last, not those of the best
    epoch: they have settled. state, keep, what ends it and what it raises: as in `learn`.
    """
    first = copied(model.to(ground.device))
    again = learn(model, replace(ground, train=train, validation=train[:0]), tricks, state, keep, until=chosen.epochs)
    again.share = chosen.share
    load(model, {name: first[name].lerp(one, chosen.share) for name, one in again.best.items()})
    return again


def _interpolate(model: nn.Module, first: dict[str, Tensor], state: State, ground: Ground, tricks: Tricks) -> None:
    """Leave the model at the point between its first and its best weights that has the least validation loss."""
    between = {1.0: state.best}
    between |= {share: {name: first[name].lerp(best, share) for name, best in state.best.items()} for share in SHARES}
    losses = {1.0: state.best_row.loss}
    for share in SHARES:
        load(model, between[share])
        losses[share] = validate(model, ground, tricks)[0]
    state.share = min(losses, key=losses.__getitem__)
    load(model, between[state.share])


def _steps(count: int, tricks: Tricks) -> int:
    """Batches of an epoch. A last one of a single picture joins the one before it where batches have statistics."""
    alone = tricks.batch_norm == "updated" and count > tricks.batch_size and count % tricks.batch_size == 1
    return math.ceil(count / tricks.batch_size) - alone


def _stale(state: State, ground: Ground, tricks: Tricks) -> bool:
    # An attack that still gains strength makes later epochs better than they look now.
    since = state.best_epoch if ground.harden is None else max(state.best_epoch, math.ceil(RISE * tricks.epochs))
    return tricks.patience > 0 and state.epochs - since >= tricks.patience


def _epoch(
    model: nn.Module,
    named: list[tuple[str, nn.Parameter]],
    began: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    ground: Ground,
    tricks: Tricks,
    state: State,
    steps: int,
) -> None:
    """One more epoch: model, optimiser and state go on together."""
    epoch = state.epochs + 1
    draw = np.random.default_rng([ground.seed, epoch])
    order = ground.train[draw.permutation(len(ground.train))]
    views = views_of(epoch, len(order), ground.data.views, draw)
    start = time.perf_counter()
    ground.data.ensure(order, views)
    views_seconds = time.perf_counter() - start
    start = time.perf_counter()
    targets = targets_of(ground, tricks)
    generator = None if ground.harden is None else torch.Generator().manual_seed(int(draw.integers(2**62)))
    weight = class_weights(ground.labels[ground.train], ground.classes, tricks.class_weights).to(ground.device)
    total, right = 0.0, 0
    # Averaged weights go with averaged statistics.
    moving: list[tuple[str, Tensor]] = [*named, *(statistics(model) if tricks.batch_norm == "updated" else [])]
    learning(model, tricks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(draw.integers(2**62)))  # dropout draws from torch's own generator
        for step in range(steps):
            rows = slice(step * tricks.batch_size, None if step == steps - 1 else (step + 1) * tricks.batch_size)
            inputs, target = mixed(ground, order[rows], views[rows], targets, tricks, draw)
            if ground.harden is not None and generator is not None:
                share = min(((epoch - 1) * steps + step + 1) / (RISE * tricks.epochs * steps), 1.0)
                inputs = ground.harden(model, inputs, None, share, generator)
            factor = rate_factor((epoch - 1) * steps + step, tricks.epochs * steps, tricks.epochs, tricks)
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimiser.zero_grad(set_to_none=True)
            # In bf16, whose range holds the small gradients that come from a fitted head; f16 would lose them.
            with torch.autocast("cuda", torch.bfloat16, enabled=ground.device != "cpu" and torch.cuda.is_bf16_supported()):
                logits = model(inputs)
            loss = cross_entropy(logits.float(), target, weight)
            if not (value := loss.item()) < FLOWN:
                now = "no number any more" if math.isnan(value) else f"{value:.3g}"
                raise InputError(
                    f"the loss is {now} in epoch {epoch} at rate {tricks.rate:g}: the steps are too long. "
                    f"Use --rate {float(f'{tricks.rate / 10:.1g}'):g}."
                )
            loss.backward()  # type: ignore[no-untyped-call]
            for name, parameter in named if began else ():
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach() - began[name], alpha=tricks.l2_sp)
            if tricks.clip:
                nn.utils.clip_grad_norm_([one for _, one in named], tricks.clip)
            optimiser.step()
            if tricks.averaging == "ema":
                average_in(state, moving, min(0.98, (1 + state.averaged) / (10 + state.averaged)))
            total += value * len(inputs)
            right += int((logits.argmax(1) == target.argmax(1)).sum())
    if tricks.averaging == "swa" and epoch > tricks.epochs - max(tricks.epochs // 3, 2):
        average_in(state, moving, state.averaged / (state.averaged + 1))
    state.weights, state.optimiser = copied(model), optimiser.state_dict()
    if state.average is not None:
        with torch.no_grad():
            for name, one in moving:
                one.copy_(state.average[name])
    candidate = copied(model) if state.average is not None else state.weights
    loss_now, right_now, _ = validate(model, ground, tricks)
    load(model, state.weights)
    rate = max(group["lr"] for group in optimiser.param_groups)
    count = len(order)
    state.history.append(
        Epoch(epoch, total / count, right / count, loss_now, right_now, rate, time.perf_counter() - start, views_seconds)
    )
    unchosen = not len(ground.validation) or (state.best_epoch == 0 and not ground.start_counts)
    if unchosen or loss_now < state.best_row.loss:
        state.best, state.best_epoch = candidate, epoch


def views_of(epoch: int, count: int, views: int, draw: np.random.Generator) -> Rows:
    """View (count,) of each picture of an epoch: a new one each epoch, the plain one last of them, then any."""
    if epoch <= views:
        return np.full(count, epoch % views, np.int64)
    return draw.integers(0, views, count)


def learning(model: nn.Module, tricks: Tricks) -> None:
    """The model as it learns: statistics stay as they are unless they are to be updated, then where weights learn; and only the
    head drops features."""
    model.eval()
    if tricks.batch_norm == "updated":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and all(one.requires_grad for one in module.parameters()):
                module.train()
    model.head.train()  # type: ignore[union-attr]


def validate(model: nn.Module, ground: Ground, tricks: Tricks) -> tuple[float, float, float]:
    """(loss, accuracy, seconds) on the plain views of the validation pictures; the loss is that at the best temperature.

    A network gets surer while it learns, and a temperature mends that at the end: it must not look like getting worse. Without
    such pictures neither is a number.
    """
    start = time.perf_counter()
    if not len(ground.validation):
        return math.nan, math.nan, 0.0
    logits = answers(model, ground, ground.validation, tricks.batch_size, attacked=True).numpy()
    labels = ground.labels[ground.validation]
    loss = log_loss(logits, labels, fit_temperature(logits, labels))
    return loss, accuracy(logits, labels), time.perf_counter() - start


def answers(model: nn.Module, ground: Ground, pictures: Rows, batch: int = 32, attacked: bool = False) -> Tensor:
    """Logits (n, K) of the plain views of pictures, where the ground hardens `attacked` against their labels."""
    plain = np.zeros(len(pictures), np.int64)
    ground.data.ensure(pictures, plain)
    model.eval()
    found = []
    generator = torch.Generator().manual_seed(ground.seed)
    for start in range(0, len(pictures), batch):
        part = slice(start, start + batch)
        rows = ground.data.batch(pictures[part], plain[part]).to(ground.device)
        if attacked and ground.harden is not None:
            labels = torch.from_numpy(ground.labels[pictures[part]]).to(ground.device)
            rows = ground.harden(model, rows, labels, 1.0, generator)
        with torch.inference_mode():
            found.append(model(rows).float().cpu())
    return torch.cat(found)
