"""The command line: parse, call one function, print. Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from topwork import __version__
from topwork.errors import InputError, TopworkError

EXIT_ERROR, EXIT_USAGE, EXIT_PARTIAL, EXIT_INTERRUPTED = 1, 2, 3, 130

app = App(name="topwork", help="A folder of photos becomes an image classifier you can trust.", version=__version__)
cache = App(name="cache", help="Stored embeddings.")
app.command(cache)

Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
def embed(
    source: str,
    *,
    out: Annotated[Path, Parameter(name=["-o", "--out"])],
    backbone: Annotated[str, Parameter(name=["-b", "--backbone"])] = "lite0",
    weights: str = "pretrained",
    engine: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cache: bool = True,
    json_: Json = False,
) -> int:
    """Write the features of every picture under SOURCE as .npz or .parquet.

    Parameters
    ----------
    source
        A folder of pictures; the names of its class folders are kept as labels where there are some.
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
    cache
        Keep and use stored embeddings.
    json_
        Print one JSON document.
    """
    import contextlib

    from topwork.features.choose import open_engine
    from topwork.features.extract import extract, store_key
    from topwork.features.store import Store
    from topwork.features.write import check_out, write_features
    from topwork.pictures.records import list_pictures, read_records

    check_out(out)
    try:
        records = read_records(source)
    except InputError:
        records = list_pictures([source])
    chosen = open_engine(backbone, weights, engine, device)
    keep = Store(store_key(chosen.spec, chosen.engine), backbone) if cache else None
    with keep or contextlib.nullcontext():
        found = extract(records, chosen.spec, chosen.engine, keep)
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
        f"({found.computed} computed, the others were stored)"
    )
    _print(result, text, json_)
    for bad in found.broken:
        print(f"{bad['path']}: {bad['reason']}: {bad['detail']}", file=sys.stderr)
    return EXIT_PARTIAL if found.broken else 0


@cache.command
def show(*, json_: Json = False) -> int:
    """What is stored, one line per backbone and precision."""
    from topwork.features.store import store_path, summary

    rows = summary()
    lines = [f"{row['note'] or row['fingerprint']}: {row['rows']} pictures, {row['bytes']} bytes" for row in rows]
    _print({"path": str(store_path()), "stored": rows}, "\n".join([str(store_path()), *lines]), json_)
    return 0


@cache.command
def clear() -> int:
    """Remove the stored embeddings; they can be made again."""
    from topwork.features.store import store_path

    for suffix in ("", "-wal", "-shm"):
        Path(f"{store_path()}{suffix}").unlink(missing_ok=True)
    print(f"{store_path()}: removed")
    return 0


@app.command
def doctor(*, json_: Json = False) -> int:
    """Versions, processor, engines and caches."""
    from topwork import runtime
    from topwork.features.engines import usable

    names = ("topwork", "numpy", "pillow", "torch", "timm", "openvino", "onnxruntime")
    facts: dict[str, Any] = {
        "processor": runtime.processor(),
        "cores": runtime.cores(),
        "cache": str(runtime.cache_folder()),
        "engines": [name for name in ("openvino", "torch", "onnxruntime") if usable(name)],
        "versions": runtime.versions(*names),
    }
    _print(facts, "\n".join(f"{key}: {value}" for key, value in facts.items()), json_)
    return 0


def _print(document: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(document, indent=1) if as_json else text)


def main() -> None:
    """Run the command line; a mistake the user can mend is one message and exit code 1."""
    try:
        code = app(result_action="return_value")
    except TopworkError as error:
        print(f"topwork: {error}", file=sys.stderr)
        code = EXIT_ERROR
    except KeyboardInterrupt:
        print("topwork: interrupted; what was done is kept", file=sys.stderr)
        code = EXIT_INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)
