"""(memory) Peak memory of a fit over 2,000 and over 20,000 pictures."""

from __future__ import annotations

from functools import partial

from contest import Contender, race, topwork_command
from photos import repeated
from results import Part
from settings import Settings, cache_with_engine, copied_cache, fresh_cache, train_folder


def measure(settings: Settings) -> Part:
    """Peak resident memory of the process of `topwork fit`."""
    part = Part("memory", "(memory) Peak memory of a fit")
    small, large = (100, 400) if settings.quick else (2_000, 20_000)
    engine = copied_cache(settings, cache_with_engine(settings))
    first = f"topwork fit, {small:,} pictures, first time"
    sizes = {count: f"topwork fit, {count:,} pictures" for count in (small, large)}
    folders = {count: repeated(train_folder(settings), settings.new(f"photos-{count}"), count) for count in sizes}

    def fit(count: int) -> list[str]:
        return topwork_command("fit", folders[count], "-o", settings.new("fit.topwork"), "--json")

    contenders = [Contender(first, fit(small), prepare=partial(fresh_cache, settings))]
    contenders += [Contender(name, fit(count), prepare=engine) for count, name in sizes.items()]
    done = race(contenders, rounds=1)
    part.failures |= done.failures
    for name in done.runs:
        part.add(name, "peak memory", "GB", done.values(name, lambda run: run.peak_bytes / 1e9))
        part.add(name, "whole process", "s", done.values(name, lambda run: run.seconds))
    peaks = {count: done.values(name, lambda run: float(run.peak_bytes)) for count, name in sizes.items()}
    part.ratio(f"peak at {large:,} / peak at {small:,}", peaks[large], peaks[small], 1.15, "<=")
    part.check(f"peak at {large:,}", [peak / 1e9 for peak in peaks[large]], 1.5, "<=", "GB")
    part.check(f"peak at {small:,}, first time", done.values(first, lambda run: run.peak_bytes / 1e9), 1.5, "<=", "GB")
    part.notes.append(
        "The pictures are real ones repeated under other names, each file with bytes of its own. Both sizes run with the "
        "engine cached (no torch in the process), where growth shows most; the first time torch is in it too."
    )
    return part
