"""The section on fine-tuning: whether it helped, told with the test's doubt, and the learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from topwork.report import charts
from topwork.report.attack import controls
from topwork.report.parts import pairs, part, section, table
from topwork.report.text import NOTHING, Facts, count, duration, figure, number, percent, plural, safe

LEFT, TOP, WIDE, TALL = 52, 14, 300, 190


def finetuning(facts: Facts) -> str:
    """Comparison with the probe, learning curves, depths that were tried, tricks; empty where nothing was fine-tuned."""
    tuned = facts.get("finetune") or {}
    if not tuned:
        return ""
    kept = (
        "This is the fine-tuned network."
        if tuned.get("taken")
        else "The network was kept as it was; the fine-tuned one is not in this bundle."
    )
    said = str(tuned.get("sentence", ""))
    refit = tuned.get("refit") or {}
    again = (
        f" Then it learned again from all {plural(refit['pictures'], 'picture')}, those that chose too."
        if refit.get("pictures")
        else ""
    )
    lead = f"{safe(said[:1].upper() + said[1:])}. {kept}{again if tuned.get('taken') else ''}"
    history = [row for row in tuned.get("history") or [] if number(row.get("loss")) is not None]
    parts = (
        _comparison(tuned),
        _robustness(tuned.get("robustness") or {}),
        _curves(history, int(number(tuned.get("best_epoch")) or 0), bool(tuned.get("robustness"))),
        _epochs(history),
        _depths(tuned.get("depths") or []),
        part(
            "Why",
            "",
            pairs((safe(name.capitalize()), safe(reason)) for name, reason in (tuned.get("reasons") or {}).items()),
        ),
        part("Tricks", "", pairs((safe(name), safe(figure(value))) for name, value in (tuned.get("tricks") or {}).items())),
    )
    return section("finetuning", "Fine-tuning", lead, "".join(parts))


def _comparison(tuned: Facts) -> str:
    rows: list[tuple[str, Facts]] = []
    for kind, pictures in (("test", "test"), ("validation", "validation")):
        found = tuned.get(kind) or {}
        for when, who in (("before", "Before"), ("after", "Fine-tuned")):
            score = {
                "accuracy": found.get(when),
                "accuracy_low": found.get(f"{when}_low"),
                "accuracy_high": found.get(f"{when}_high"),
                "n": found.get("n"),
            }
            rows.append((f"{who}, {pictures} pictures", score))
    told = (
        "The validation pictures decided, the test pictures only tell. Both networks answered the same ones; McNemar's exact "
        "test counts those that only one of them got right."
    )
    return part("Before and after fine-tuning", told, charts.intervals(rows))


def _robustness(found: Facts) -> str:
    """Accuracy under attack of both networks, and whether the attack can be believed."""
    rows: list[tuple[str, Facts]] = []
    for before, after in zip(found.get("before") or [], found.get("after") or [], strict=True):
        levels = figure(number(before.get("epsilon_255")))
        where = f"attacked at {levels}/255" if number(before.get("epsilon")) else "as they are"
        for who, point in (("Before", before), ("Fine-tuned", after)):
            score = {"accuracy": point.get("accuracy"), "accuracy_low": point.get("low"), "accuracy_high": point.get("high")}
            rows.append((f"{who}, {where}", score))
    if not rows:
        return ""
    told = (
        f"Learned from pictures attacked at up to {figure(number(found.get('epsilon_255')))}/255 at the network's input. Of "
        f"{plural(found.get('n'), 'test picture')}, as many are right after each was attacked by "
        f"{safe(figure(found.get('attack')))}. That the accuracy on untouched pictures falls somewhat is the usual price."
    )
    return part("Under attack, before and after", told, charts.intervals(rows)) + controls(found)


def _curves(history: Sequence[Facts], best: int, attacked: bool) -> str:
    if len(history) < 2:
        return ""
    loss = _panel("loss (nats)", history, (("train_loss", "training"), ("loss", "validation")), best, False)
    right = _panel("right (%)", history, (("train_accuracy", "training"), ("accuracy", "validation")), best, True)
    seen = "pictures attacked at full strength" if attacked else "the plain pictures"
    told = (
        f"Epoch 0 is the network before; those of epoch {best} were the best. The training loss has smoothed labels and dropout"
        f" in it, the validation loss {seen} at the best temperature, so the two stand on scales of their own."
    )
    return part("Learning curves", told, f'<div class="columns curves"><figure>{loss}</figure><figure>{right}</figure></div>')


def _panel(title: str, history: Sequence[Facts], kinds: Sequence[tuple[str, str]], best: int, share: bool) -> str:
    """One chart over the epochs: a line per kind, the kept epoch marked."""
    values = [value for key, _ in kinds for row in history if (value := number(row.get(key))) is not None]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.01
    low, high = (max(0.0, low - room), min(1.0, high + room)) if share else (max(0.0, low - room), high + room)
    last = max(int(row["epoch"]) for row in history)

    def x(epoch: float) -> float:
        return round(LEFT + WIDE * epoch / max(last, 1), 1)

    def y(value: float) -> float:
        return round(TOP + TALL * (high - value) / (high - low), 1)

    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        words = f"{100 * value:.1f}" if share else f"{value:.2f}"
        parts.append(f'<line class="grid" x1="{x(0)}" x2="{x(last)}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{words}</text>')
    parts.append(f'<line class="ideal" x1="{x(best)}" x2="{x(best)}" y1="{TOP}" y2="{TOP + TALL}"/>')
    stride = max(1, -(-last // 10))
    for epoch in range(0, last + 1, stride):
        parts.append(f'<text class="tick" x="{x(epoch)}" y="{TOP + TALL + 18}" text-anchor="middle">{epoch}</text>')
    ends: list[tuple[float, str]] = []
    for key, word in kinds:
        points = [(x(row["epoch"]), y(value)) for row in history if (value := number(row.get(key))) is not None]
        if not points:
            continue
        line = " ".join(f"{a},{b}" for a, b in points)
        kind = "train" if word == "training" else "judged"
        parts.append(f'<polyline class="curve {kind}" points="{line}"/>')
        ends.append((points[-1][1] + 4, word))
    ends.sort()
    for place in range(1, len(ends)):  # names never lie on each other
        ends[place] = (max(ends[place][0], ends[place - 1][0] + 15), ends[place][1])
    parts += [f'<text class="tick" x="{LEFT + WIDE + 8}" y="{at:.1f}">{word}</text>' for at, word in ends]
    parts.append(f'<text class="axis" x="{LEFT + WIDE / 2}" y="{TOP + TALL + 36}" text-anchor="middle">epoch</text>')
    middle = TOP + TALL / 2
    parts.append(f'<text class="axis" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{title}</text>')
    label = f"{title} over {plural(last, 'epoch')}"
    size = f"0 0 {LEFT + WIDE + 84} {TOP + TALL + 42}"
    return f'<svg class="learning" viewBox="{size}" role="img" aria-label="{safe(label)}">{"".join(parts)}</svg>'


def _epochs(history: Sequence[Facts]) -> str:
    def loss(value: object) -> str:
        found = number(value)
        return NOTHING if found is None else f"{found:.4f}"

    rows = [
        (
            count(row.get("epoch")),
            loss(row.get("train_loss")),
            percent(row.get("train_accuracy")),
            loss(row.get("loss")),
            percent(row.get("accuracy")),
            figure(number(row.get("rate"))),
            duration(row.get("seconds")),
            duration(row.get("views_seconds")),
        )
        for row in history
    ]
    heads = ("Epoch", "Training loss", "right", "Validation loss", "right", "Rate", "Learning", "New views")
    kind = "list" + (" long" if len(rows) > 20 else "")
    return part(
        "Epoch by epoch", "", table(heads, rows, "Loss, accuracy, rate and seconds of each epoch", kind, tuple(range(8)))
    )


def _depths(depths: Sequence[Facts]) -> str:
    rows = [
        (
            count(row.get("blocks")),
            safe(row.get("cut")),
            figure(number(row.get("loss"))),
            percent(row.get("accuracy")),
            count(row.get("images_per_second")),
            duration(row.get("seconds")),
        )
        for row in depths
    ]
    heads = ("Blocks", "From", "Validation loss", "right", "Pictures a second", "Took")
    return part(
        "How deep to learn",
        "A short run of each depth, learning as the whole run does.",
        table(heads, rows, "Depths that were tried", "list", (0, 2, 3, 4, 5)),
    )
