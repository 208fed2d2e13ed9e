"""audit, embed, cache, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topwork import __version__
from topwork.commands.common import (
    EXIT_PARTIAL,
    Backbone,
    Device,
    Engine,
    Json,
    Offline,
    Out,
    Quiet,
    Seed,
    Store,
    Verbose,
    Weights,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
    told_broken,
    warn,
)

if TYPE_CHECKING:
    from topwork.findings import Audit


def audit(
    pictures: str,
    /,
    *,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    engine: Engine = "auto",
    device: Device = "auto",
    seed: Seed = 0,
    store: Store = True,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Find what is wrong with labelled pictures; nothing is changed.

    Parameters
    ----------
    pictures
        A folder with one folder per class, train/ and test/ above such folders, or a CSV with path,label[,split].
    seed
        Draws the folds.
    verbose
        Tell every finding, not only the first five of a kind.
    """
    from topwork.fitting import FitSettings
    from topwork.fitting import audit as audit_pictures

    stay_offline(offline)
    settings = FitSettings(backbone, weights, engine, device, seed=seed, store=store)
    with progress_bar("pictures", quiet) as progress:
        found = audit_pictures(pictures, settings=settings, progress=progress)
    say(found.to_config(), _audit_text(pictures, found, None if verbose else 5), json_)
    warn(*found.warnings)
    return EXIT_PARTIAL if found.broken else 0


def _audit_text(pictures: str, found: Audit, most: int | None) -> list[str]:
    smallest = min(found.classes, key=lambda row: int(row["n"]), default=None)
    classes = number(len(found.classes), "class", "classes")
    lines = [
        f"{pictures}: {found.usable:,} of {number(found.pictures, 'picture')} usable, {classes}"
        + (f", the smallest {smallest['label']} with {smallest['n']}" if smallest is not None else "")
    ]

    def part(title: str, rows: list[str]) -> None:
        if rows:
            lines.append(f"  {title}: {len(rows)}")
            lines.extend(f"    {row}" for row in rows[:most])
            if most is not None and len(rows) > most:
                lines.append(f"    and {len(rows) - most} more, see -v or --json")

    part("broken", [f"{one['path']}: {one['reason']}: {one['detail']}" for one in found.broken])
    conflicts = [zip(one["paths"], one["labels"], strict=True) for one in found.label_conflicts]
    part("one picture under two labels", [" = ".join(f"{path} ({label})" for path, label in pairs) for pairs in conflicts])
    part("leaks from training to test", [f"{one['test']} = {one['train']} ({one['kind']})" for one in found.leaks])
    if found.accuracy_with_leaks is not None:
        lines.append(
            f"    test accuracy with the leaked pictures {percent(found.accuracy_with_leaks)}, "
            f"without them {percent(found.accuracy_without_leaks)}"
        )
    part("copies", [" = ".join(group) for group in found.duplicates])
    part("near-copies", [" ~ ".join(group) for group in found.near_duplicates])
    part(
        "suspect labels",
        [
            f"{one['path']}: {one['label']}, more like {one['suggested']} ({percent(one['probability'])})"
            for one in found.suspect_labels
        ],
    )
    part("very small classes", found.small_classes)
    if found.imbalance is not None and found.imbalance >= 10:
        lines.append(f"  very unequal classes: the largest has {found.imbalance:.0f} times the pictures of the smallest")
    part("odd sizes", [f"{one['path']}: {one['width']} x {one['height']}, {one['reason']}" for one in found.odd_sizes])
    part("named for another format", [f"{one['path']}: {one['detail']}" for one in found.extension_mismatches])
    return lines if len(lines) > 1 else [*lines, "  nothing found wrong"]


def embed(
    pictures: str,
    /,
    *,
    out: Out,
    backbone: Backbone = "lite0",
    weights: Weights = "pretrained",
    engine: Engine = "auto",
    device: Device = "auto",
    store: Store = True,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write the features of pictures as .npz or .parquet.

    Parameters
    ----------
    pictures
        A folder of pictures; where it has class folders their names are kept as labels.
    out
        Where to write: FILE.npz or FILE.parquet.
    verbose
        Tell why this engine was chosen, and every broken picture.
    """
    from topwork.classifier import extract_for
    from topwork.errors import InputError
    from topwork.features.choose import open_engine
    from topwork.features.write import check_out, write_features
    from topwork.fitting import sample_of
    from topwork.pictures.sources import any_records

    check_out(out)
    stay_offline(offline)
    records = any_records(pictures)
    chosen = open_engine(backbone, weights, engine, device, sample_of(records))
    with progress_bar("features", quiet) as progress:
        found = extract_for(chosen.spec, chosen.engine, records, store, progress)
    if not len(found.records):
        warn(*told_broken(found.broken, verbose))
        raise InputError(f"{pictures}: none of its {number(len(records), 'picture')} could be used; {out} was not written.")
    write_features(found, chosen.spec, out)
    result = {
        "out": str(out),
        "pictures": len(found.records),
        "width": chosen.spec.width,
        "computed": found.computed,
        "broken": found.broken,
        "seconds": round(found.seconds, 3),
        "images_per_second": round(found.images_per_second, 1),
        "backbone": chosen.spec.id,
        "engine": f"{chosen.engine.name} {chosen.engine.precision}",
        "reason": chosen.reason,
        "warnings": [*records.notes, *found.warnings],
    }
    fresh = f"{found.computed} computed, {len(found.records) - found.computed} from the store"
    text = (
        f"{out}: {number(len(found.records), 'picture')} x {chosen.spec.width} features, "
        f"{found.images_per_second:.0f} pictures a second ({fresh})"
    )
    say(result, [text], json_)
    if verbose:
        warn(f"engine: {chosen.reason}")
    warn(*records.notes, *found.warnings, *told_broken(found.broken, verbose))
    return EXIT_PARTIAL if found.broken else 0


def cache_show(*, json_: Json = False) -> int:
    """Show what is stored, one line per backbone and precision."""
    from topwork.features.store import store_path, summary
    from topwork.frozen.keeping import ROOMS

    rows = summary()
    folder = store_path().parent
    places = ("engines", *ROOMS, "zoo")
    engines = sum(file.stat().st_size for name in places for file in (folder / name).rglob("*") if file.is_file())
    kept = [
        f"  {row['note'] or row['fingerprint']}: {row['rows']:,} pictures, {_megabytes(int(str(row['bytes'])))}" for row in rows
    ]
    if engines:
        kept.append(f"  engine files: {_megabytes(engines)}")
    fetched = sum(file.stat().st_size for file in (folder / "downloads").rglob("*") if file.is_file())
    if fetched:
        kept.append(f"  archives of data sets: {_megabytes(fetched)}")
    document = {"folder": str(folder), "path": str(store_path()), "stored": rows, "engine_bytes": engines}
    document["download_bytes"] = fetched
    say(document, [str(folder), *(kept or ["  nothing stored"])], json_)
    return 0


def cache_clear(*, json_: Json = False) -> int:
    """Remove stored embeddings, engine files, what was measured of networks, and fetched archives; weights stay."""
    import shutil

    from topwork.features.store import store_path
    from topwork.frozen.keeping import ROOMS
    from topwork.runtime import storage_error

    folder = store_path().parent
    made = [folder / name for name in ("engines", *ROOMS, "downloads", "scratch", "zoo")]  # weights are the user's to keep
    ours = [*folder.glob(f"{store_path().name}*"), *(file for place in made for file in place.rglob("*"))]
    freed = sum(file.stat().st_size for file in ours if file.is_file())
    try:
        for file in folder.glob(f"{store_path().name}*"):
            file.unlink(missing_ok=True)
        for place in made:
            if place.is_dir():
                shutil.rmtree(place)
    except OSError as error:
        raise storage_error(folder, error) from error
    removed = f"embeddings, engine files and archives removed, {_megabytes(freed)} freed"
    text = f"{folder}: {removed if ours else 'nothing stored'}"
    say({"folder": str(folder), "freed_bytes": freed}, [text], json_)
    return 0


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def doctor(*, json_: Json = False) -> int:
    """Show versions, processor, engines and caches, and why each engine was chosen."""
    import json
    import platform

    from topwork import runtime
    from topwork.errors import StorageError
    from topwork.features.engines import cuda_available, usable
    from topwork.features.store import summary

    choices = []
    for file in sorted((runtime.cache_folder() / "engines").glob("*/choice.json")):
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            choices.append({"backbone": known["spec"]["id"], "engine": known["engine"], "reason": known["reason"]})
        except (OSError, ValueError, KeyError, TypeError):
            choices.append({"backbone": "?", "engine": "?", "reason": f"{file} cannot be read; it will be made again"})
    problems = []
    try:
        stored = summary()
    except StorageError as error:
        stored, problems = [], [str(error)]
    rows = sum(int(str(row["rows"])) for row in stored)
    versions = runtime.versions("topwork", "numpy", "pillow", "torch", "torchvision", "timm", "openvino", "onnxruntime")
    engines = [name for name in ("openvino", "torch", "onnxruntime") if usable(name)]
    facts = {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": runtime.processor(),
        "cores": runtime.cores(),
        "cuda": usable("torch") and cuda_available(),
        "engines": engines,
        "choices": choices,
        "cache": str(runtime.cache_folder()),
        "stored": stored,
        "versions": versions,
        "problems": problems,
    }
    lines = [
        f"topwork     {__version__} on Python {facts['python']}, {facts['system']}",
        f"processor   {facts['processor']}, {number(runtime.cores(), 'core')}",
        f"device      {'cuda, and cpu' if facts['cuda'] else 'cpu; torch sees no CUDA device'}",
        f"engines     {', '.join(engines)}",
        f"packages    {', '.join(f'{name} {version}' for name, version in versions.items() if name != 'topwork')}",
        f"cache       {facts['cache']}: {number(rows, 'stored row')}",
        *[f"{one['backbone']:<11} {one['engine']}: {one['reason']}" for one in choices],
    ]
    if not choices:
        lines.append("no engine was chosen here yet: the first fit measures them")
    say(facts, lines, json_)
    warn(*problems)
    return 0
