"""Which of the networks that were tried: what none can prefer, what a budget leaves, what pictures can tell apart."""

from __future__ import annotations

from dataclasses import dataclass

from topwork.compare.probe import Probe, mcnemar
from topwork.compare.speed import Speed
from topwork.compare.transferability import Transferability
from topwork.compare.words import percent
from topwork.features.choose import Chosen

SAME_SPEED = 1.1
"""Ratio of two latencies up to which neither counts as slower: they are measured on a machine that does other things too."""

DOUBT = 0.05
"""Chance of an equal network to look so much worse, below which it counts as worse."""


@dataclass
class Entry:
    """A network under comparison."""

    name: str
    chosen: Chosen
    speed: Speed
    probe: Probe | None = None
    scores: Transferability | None = None
    pictures: int = 0
    dropped: str | None = None


def dominated(alive: list[Entry]) -> list[Entry]:
    """Networks that no budget can make the pick, marked with why: another one is better, no slower and no larger."""
    lost = []
    for one in alive:
        for other in alive:
            if other is one or other.dropped is not None:
                continue
            slower = other.speed.latency_ms > SAME_SPEED * one.speed.latency_ms
            cheaper = not slower and other.speed.size_mb <= one.speed.size_mb
            better = accuracy_of(other) > accuracy_of(one)
            if cheaper and better and (p := mcnemar(probe_of(one).right, probe_of(other).right)) < DOUBT:
                one.dropped = (
                    f"after {one.pictures} pictures: {other.name} is better ({percent(accuracy_of(other))}, p = {p:.2g}), "
                    "no slower and no larger"
                )
                lost.append(one)
                break
    return lost


def choose(finished: list[Entry], budget_ms: float | None, budget_mb: float | None) -> tuple[Entry | None, str]:
    """The pick within the budget, and why: of those that cannot be told from the best, the fastest. finished: best first."""
    within = [
        one
        for one in finished
        if (budget_ms is None or one.speed.latency_ms <= budget_ms) and (budget_mb is None or one.speed.size_mb <= budget_mb)
    ]
    if not within:
        nearest = min(finished, key=lambda one: _over(one, budget_ms, budget_mb))
        limits = [f"{budget_ms:g} ms" if budget_ms is not None else "", f"{budget_mb:g} MB" if budget_mb is not None else ""]
        return None, (
            f"no network keeps within {' and '.join(limit for limit in limits if limit)}; the nearest is {nearest.name} with "
            f"{nearest.speed.latency_ms:.1f} ms and {nearest.speed.size_mb:.1f} MB ({percent(accuracy_of(nearest))})"
        )
    best = within[0]
    right = probe_of(best).right
    equal = [one for one in within if one is best or mcnemar(right, probe_of(one).right) >= DOUBT]
    pick = min(equal, key=lambda one: one.speed.latency_ms)
    where = " within the budget" if len(within) < len(finished) else ""
    if pick is not best:
        p = mcnemar(right, probe_of(pick).right)
        faster = best.speed.latency_ms / pick.speed.latency_ms
        return pick, (
            f"{pick.name}: {percent(accuracy_of(pick))}. {best.name} has {percent(accuracy_of(best))}, but {best.pictures} "
            f"pictures cannot tell the two apart (p = {p:.2f}), and {pick.name} answers {faster:.1f} times as fast"
        )
    others = [one for one in within if one is not best]
    if not others:
        return best, f"{best.name}: {percent(accuracy_of(best))}, the only one{where or ' that was tried to the end'}"
    p = mcnemar(right, probe_of(others[0]).right)
    told = "differs from" if p < DOUBT else "cannot be told from"
    extra = "" if p < DOUBT else ", and is the fastest of those that cannot be told apart"
    return best, (
        f"{best.name}: {percent(accuracy_of(best))}, the best{where}; it {told} the next, {others[0].name} with "
        f"{percent(accuracy_of(others[0]))}, on {best.pictures} pictures (p = {p:.2g}){extra}"
    )


def _over(one: Entry, budget_ms: float | None, budget_mb: float | None) -> float:
    """By how many times a network is beyond the budget."""
    ratios = [one.speed.latency_ms / budget_ms if budget_ms else 0.0, one.speed.size_mb / budget_mb if budget_mb else 0.0]
    return max(ratios)


def probe_of(one: Entry) -> Probe:
    """Its probe, on the pictures of the last round it took part in."""
    if one.probe is None:
        raise ValueError(f"{one.name} was not tried")
    return one.probe


def accuracy_of(one: Entry) -> float:
    """Share of held-out pictures that its probe answers right."""
    return probe_of(one).accuracy
