"""Runs the lessons: from each N-name.py (jupytext's percent format) the notebook N-name.ipynb with its outputs.

python lessons/notebooks.py                    # all, as they stand in the project: without the real photos
TOPWORK_TEST_DATA=DIR python lessons/notebooks.py --out build/lessons    # on the real photos
python lessons/notebooks.py --only 4 --short   # few pictures, few steps: does it run?
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from topwork.runtime import cache_folder

HERE = Path(__file__).resolve().parent
LONGEST = 900
"""Seconds of one cell at most."""


def sources(only: list[int] | None = None) -> list[Path]:
    """The lessons in their order, or those numbered so."""
    found = sorted(HERE.glob("[1-9]-*.py"))
    return [file for file in found if only is None or int(file.name[0]) in only]


def blank(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, nothing run yet; cells are named by their place, so that the same source is the same file."""
    notebook = jupytext.read(source)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.name[0]}-{place:02d}"
        cell.metadata.clear()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def run(source: Path, short: bool) -> nbformat.NotebookNode:
    """The notebook of a source with its outputs. Raises CellExecutionError where a cell fails."""
    notebook = blank(source)
    with tempfile.TemporaryDirectory(prefix="topwork-lesson-") as work:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "TOPWORK_LESSONS_WORK": "work",
            "TOPWORK_LESSONS_SHORT": "1" if short else "0",
            "COLUMNS": "110",
            "HF_HUB_OFFLINE": "1",
            "TOPWORK_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # a progress bar of a library, which no notebook here needs
        }
        # Files instead of ports, where the system has such sockets.
        own = {} if os.name == "nt" else {"KernelManager": {"transport": "ipc", "ip": f"{work}/kernel"}}
        client = NotebookClient(notebook, config=Config(own), timeout=LONGEST, resources={"metadata": {"path": work}})
        client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.clear()  # times of execution change with every run
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr" or one.text.strip()]
            for one in cell.outputs:
                if "text" in one:  # where this machine keeps its files is nobody's business
                    one.text = one.text.replace(str(cache_folder()), "~/.cache/topwork")
    notebook.metadata.pop("widgets", None)
    return notebook


def main() -> int:
    """Exit code: 0 all ran, 1 a cell failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of lessons")
    parser.add_argument("--short", action="store_true", help="few pictures and few steps; written only with --out")
    parser.add_argument("--out", type=Path, help="folder for the notebooks; without it they stand beside their sources")
    given = parser.parse_args()
    failed = 0
    for source in sources(given.only):
        start = time.perf_counter()
        try:
            notebook = run(source, given.short)
        except CellExecutionError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            failed = 1
            continue
        if given.out is not None or not given.short:
            folder = given.out or HERE
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, folder / f"{source.stem}.ipynb")
        print(f"{source.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
