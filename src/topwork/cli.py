"""The command line. Results on stdout, everything else on stderr; a mistake is one message, a bug keeps its traceback."""

from __future__ import annotations

import sys

from cyclopts import App
from cyclopts.config import Env, Toml

from topwork import __version__
from topwork.commands import classify, demo, look_after
from topwork.commands.common import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, warn
from topwork.errors import TopworkError

app = App(
    name="topwork",
    help="Turn a folder of photos into an image classifier you can trust, in seconds, on a laptop, offline.",
    version=__version__,
    config=[Env("TOPWORK_", command=False), Toml("topwork.toml", must_exist=False, search_parents=False, allow_unknown=True)],
)
for command in (demo.demo, classify.fit, classify.predict, classify.score, look_after.audit, look_after.embed):
    app.command(command)
cache = App(name="cache", help="Stored embeddings and engine files: show, clear.")
cache.command(look_after.cache_show, name="show")
cache.command(look_after.cache_clear, name="clear")
app.command(cache)
app.command(look_after.doctor)


def main() -> None:
    """Run the command line and exit: 0 done, 1 a mistake, 2 usage, 3 some inputs failed, 4 a gate missed, 130 interrupted."""
    try:
        code = app(result_action="return_value", exit_on_error=False)
    except TopworkError as error:
        warn(f"topwork: {error}")
        code = EXIT_ERROR
    except KeyboardInterrupt:
        warn("topwork: interrupted; what was stored is kept, and no half-written file is left")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = EXIT_ERROR
    except Exception as error:
        if type(error).__module__.split(".")[0] != "cyclopts":
            raise
        code = EXIT_USAGE  # cyclopts has said what is wrong
    sys.exit(code if isinstance(code, int) else 0)
