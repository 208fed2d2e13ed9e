"""audit, embed, cache, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topwork.commands.common import (
    EXIT_PARTIAL,
    Backbone,
    Device,
    EngineName,
    Json,
    Out,
    Quiet,
    percent,
    progress_bar,
    say,
    told_broken,
    warn,
)


def audit(
    pictures: str,
    *,
    backbone: Backbone = "lite0",
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    seed: int = 0,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find what is wrong with labelled pictures; nothing is changed.

    Parameters
    ----------
    pictures
        A folder with one folder per class, train/ and test/ above such folders, or a CSV with path,label[,split].
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone.
    device
        Where torch runs.
    seed
        Draws the folds.
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    from topwork.fitting import audit as audit_pictures

    settings: dict[str, Any] = {"backbone": backbone, "weights": weights, "engine": engine, "device": device, "seed": seed}
    with progress_bar("pictures", quiet) as progress:
        found = audit_pictures(pictures, progress=progress, **settings)
    sizes = ", ".join(f"{row['label']} {row['n']}" for row in sorted(found.classes, key=lambda row: row["n"])[:3])
    lines = [
        f"{pictures}: {found.usable} of {found.pictures} pictures usable, {len(found.classes)} classes (smallest: {sizes})",
        *_part("broken", [f"{one['path']}: {one['reason']}: {one['detail']}" for one in found.broken]),
        *_part("copies", [" = ".join(group) for group in found.duplicates]),
        *_part("near-copies", [" ~ ".join(group) for group in found.near_duplicates]),
        *_part(
            "label conflicts",
            [
                " / ".join(f"{path} ({label})" for path, label in zip(one["paths"], one["labels"], strict=True))
                for one in found.label_conflicts
            ],
        ),
        *_part("leaks", [f"{one['test']} is a copy of {one['train']} ({one['kind']})" for one in found.leaks]),
        *_part(
            "suspect labels",
            [
                f"{one['path']}: {one['label']}, more like {one['suggested']} ({percent(one['probability'])})"
                for one in found.suspect_labels
            ],
        ),
        *_part("odd sizes", [f"{one['path']}: {one['width']} x {one['height']}, {one['reason']}" for one in found.odd_sizes]),
        *_part("named for another format", [f"{one['path']}: {one['detail']}" for one in found.extension_mismatches]),
        *_part("very small classes", found.small_classes),
    ]
    if found.imbalance is not None and found.imbalance >= 10:
        lines.append(f"  very unequal classes: the largest has {found.imbalance:.0f} times the pictures of the smallest")
    if found.accuracy_with_leaks is not None:
        lines.append(
            f"  accuracy with the leaked test pictures {percent(found.accuracy_with_leaks)}, "
            f"without them {percent(found.accuracy_without_leaks)}"
        )
    if len(lines) == 1:
        lines.append("  nothing found wrong")
    say(found.to_config(), "\n".join(lines), json_)
    return EXIT_PARTIAL if found.broken else 0


def _part(title: str, rows: list[str], most: int = 5) -> list[str]:
    if not rows:
        return []
    more = [f"    and {len(rows) - most} more, see --json"] if len(rows) > most else []
    return [f"  {title}: {len(rows)}", *(f"    {row}" for row in rows[:most]), *more]


def embed(
    pictures: str,
    *,
    out: Out,
    backbone: Backbone = "lite0",
    weights: str = "pretrained",
    engine: EngineName = "auto",
    device: Device = "auto",
    store: bool = True,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write the features of pictures as .npz or .parquet.

    Parameters
    ----------
    pictures
        A folder of pictures; where it has class folders their names are kept as labels.
    out
        Where to write: FILE.npz or FILE.parquet.
    backbone
        lite0, or timm:NAME.
    weights
        pretrained, random, or a file.
    engine
        What runs the backbone; auto measures once and remembers.
    device
        Where torch runs.
    store
        Keep and use stored embeddings.
    json_
        Print one JSON document.
    quiet
        No progress bar.
    """
    from topwork.classifier import extract_for
    from topwork.errors import InputError
    from topwork.features.choose import open_engine
    from topwork.features.write import check_out, write_features
    from topwork.pictures.records import list_pictures, read_records

    check_out(out)
    try:
        records = read_records(pictures)
    except InputError:
        records = list_pictures([pictures])
    chosen = open_engine(backbone, weights, engine, device)
    with progress_bar("features", quiet) as progress:
        found = extract_for(chosen.spec, chosen.engine, records, store, progress)
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
        "warnings": found.warnings,
    }
    text = (
        f"{out}: {len(found.records)} pictures x {chosen.spec.width} features, {found.images_per_second:.0f} pictures a second "
        f"({found.computed} computed, {len(found.records) - found.computed} from the store)"
    )
    say(result, text, json_)
    warn(*records.notes, *found.warnings, *told_broken(found.broken))
    return EXIT_PARTIAL if found.broken else 0


def cache_show(*, json_: Json = False) -> int:
    """Show what is stored, one line per backbone and precision."""
    from topwork.features.store import store_path, summary

    rows = summary()
    lines = [f"  {row['note'] or row['fingerprint']}: {row['rows']} pictures, {row['bytes']} bytes" for row in rows]
    say({"path": str(store_path()), "stored": rows}, "\n".join([str(store_path()), *(lines or ["  nothing stored"])]), json_)
    return 0


def cache_clear() -> int:
    """Remove stored embeddings and engine files; they can be made again."""
    import shutil

    from topwork.features.store import store_path

    for suffix in ("", "-wal", "-shm"):
        Path(f"{store_path()}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(store_path().parent / "engines", ignore_errors=True)
    print(f"{store_path().parent}: embeddings and engine files removed")
    return 0


def doctor(*, json_: Json = False) -> int:
    """Show versions, processor, engines and caches, and why each engine was chosen."""
    import json

    from topwork import runtime
    from topwork.features.engines import usable
    from topwork.features.store import summary

    names = ("topwork", "numpy", "pillow", "torch", "torchvision", "timm", "openvino", "onnxruntime")
    choices = []
    for file in sorted((runtime.cache_folder() / "engines").glob("*/choice.json")):
        try:
            facts = json.loads(file.read_text())
            choices.append({"backbone": facts["spec"]["id"], "engine": facts["engine"], "reason": facts["reason"]})
        except (OSError, ValueError, KeyError):
            choices.append({"backbone": "?", "engine": "?", "reason": f"{file} cannot be read; it will be made again"})
    facts = {
        "processor": runtime.processor(),
        "cores": runtime.cores(),
        "cache": str(runtime.cache_folder()),
        "stored": summary(),
        "engines": [name for name in ("openvino", "torch", "onnxruntime") if usable(name)],
        "choices": choices,
        "versions": runtime.versions(*names),
    }
    lines = [f"{key}: {value}" for key, value in facts.items() if key not in ("choices", "versions", "stored")]
    lines += [f"versions: {', '.join(f'{name} {version}' for name, version in facts['versions'].items())}"]
    lines += [f"{one['backbone']}: {one['reason']}" for one in choices]
    say(facts, "\n".join(lines), json_)
    return 0
