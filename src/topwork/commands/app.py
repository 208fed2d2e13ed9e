"""The command line. Results on stdout, everything else on stderr; a mistake is one message, a bug keeps its traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

from topwork import __version__
from topwork.commands import attack, classify, compare, curve, data, demo, distance, finetune, look, look_after, quiz, zoo
from topwork.commands.common import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, warn
from topwork.commands.settings import sources
from topwork.errors import TopworkError

app = App(
    name="topwork",
    help="Turn a folder of photos into an image classifier you can trust, in seconds, on a laptop, offline.",
    help_epilogue=(
        "A flag that is not given is looked for as TOPWORK_FLAG in the environment, then in topwork.toml. "
        "Exit codes: 0 done, 1 a mistake to mend, 2 usage, 3 done but some pictures could not be used, "
        "4 --fail-under missed, 130 interrupted."
    ),
    help_format="plaintext",  # markdown would cost a third of the time that --help takes
    version=__version__,
    suppress_keyboard_interrupt=False,
)
app.config = sources(app)
COMMANDS: tuple[tuple[str, Callable[..., int]], ...] = (
    ("demo", demo.demo),
    ("fit", classify.fit),
    ("predict", classify.predict),
    ("score", classify.score),
    ("audit", look_after.audit),
    ("embed", look_after.embed),
    ("finetune", finetune.finetune),
    ("tricks", finetune.tricks),
    ("look", look.look),
    ("explain", look.explain),
    ("ideal", look.ideal),
    ("attack", attack.attack),
    ("distance", distance.distance),
    ("compare", compare.compare),
    ("curve", curve.curve),
    ("map", curve.map_),
    ("zoo list", zoo.zoo_list),
    ("zoo show", zoo.zoo_show),
    ("zoo get", zoo.zoo_get),
    ("zoo classes", zoo.zoo_classes),
    ("zoo bench", zoo.zoo_bench),
    ("data list", data.data_list),
    ("data get", data.data_get),
    ("cache show", look_after.cache_show),
    ("cache clear", look_after.cache_clear),
    ("doctor", look_after.doctor),
    ("quiz", quiz.quiz),
)
"""In the order of `topwork --help`."""

GROUPS = {
    "zoo": "The pretrained networks: list, show, get, classes, bench.",
    "data": "Well-known data sets as class folders: list, get.",
    "cache": "Stored embeddings and engine files: show, clear.",
}


def register() -> None:
    """Give the app its commands; those of two words stand in the group of the first."""
    groups: dict[str, App] = {}
    for place, (words, command) in enumerate(COMMANDS):
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = App(name=group, help=GROUPS[group], sort_key=place)
            app.command(groups[group])
        groups.get(group, app).command(command, name=name, sort_key=place)


register()


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit code, and every mistake is told on stderr."""
    sys.stdout, sys.stderr = (one or open(os.devnull, "w") for one in (sys.stdout, sys.stderr))  # noqa: SIM115 - closed at start
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        code = app(list(words), result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except TopworkError as error:
        warn(f"topwork: {error}")
        return EXIT_ERROR
    except CycloptsError as error:
        at = " ".join(name for name in (error.command_chain or ()) if name)
        warn(f"topwork: {' '.join(str(error).split())} See: topwork{f' {at}' if at else ''} --help")
        return EXIT_USAGE
    except KeyboardInterrupt:
        warn("topwork: interrupted; what was stored is kept, and no half-written file is left")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the result has gone. Python would complain once more when it closes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    return code if isinstance(code, int) else 0
