"""Writes the documentation: pages by hand and from the code, examples run, built as a site, every link checked.

python docs/make.py                  # the site, in build/docs/site
python docs/make.py --no-examples    # the same without running anything: for a quick look at a page
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from handbook import examples, links, pages

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Make the site; 0 where all examples ran, the strict build passed and no link is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="where to work and write")
    parser.add_argument("--no-examples", action="store_true", help="leave the examples out")
    wanted = parser.parse_args()
    out = wanted.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    photos = os.environ.get("TOPWORK_TEST_DATA")
    ran = [] if wanted.no_examples else examples.run_all(out / "work", Path(photos).resolve() if photos else None)
    pages.write_all(ROOT, out / "pages", ran)
    pages.write_config(ROOT / "docs" / "mkdocs.yml", out)
    zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(out / "mkdocs.yml")]
    built = subprocess.run(zensical, env={**os.environ, "NO_COLOR": "1"}, check=False)
    if built.returncode:
        return built.returncode
    problems = links.problems(out / "site")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(list((out / 'site').rglob('*.html')))} pages. Read them: python -m http.server --directory {out / 'site'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
