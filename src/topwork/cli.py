"""The entry point: starts as fast as it can. The command line itself is topwork.commands.app."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 a mistake, 2 usage, 3 some inputs failed, 4 a gate missed, 130 interrupted."""
    # Starting makes many small objects and no garbage: looking for it every 700 objects costs a fifth of the time of --help.
    gc.set_threshold(50_000)
    try:
        from topwork.commands.app import run
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))
