"""The command line. Results on stdout, everything else on stderr; a mistake is one message, a bug keeps its traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

from topwork import __version__
from topwork.commands import classify, compare, data, demo, finetune, look, look_after, quiz, zoo
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
first: tuple[Callable[..., int], ...] = (
    demo.demo,
    classify.fit,
    classify.predict,
    classify.score,
    look_after.audit,
    look_after.embed,
    look.look,
    look.explain,
    look.ideal,
    finetune.finetune,
)
for place, command in enumerate(first):
    app.command(command, sort_key=place)
data_app = App(name="data", help="Well-known data sets as class folders: list, get.", sort_key=len(first))
data_app.command(data.data_list, name="list", sort_key=0)
data_app.command(data.data_get, name="get", sort_key=1)
app.command(data_app)
cache = App(name="cache", help="Stored embeddings and engine files: show, clear.", sort_key=len(first))
cache.command(look_after.cache_show, name="show", sort_key=0)
cache.command(look_after.cache_clear, name="clear", sort_key=1)
app.command(cache)
pretrained = App(name="zoo", help="The pretrained networks: list, show, get, classes, bench.", sort_key=len(first))
of_zoo: tuple[Callable[..., int], ...] = (zoo.zoo_list, zoo.zoo_show, zoo.zoo_get, zoo.zoo_classes, zoo.zoo_bench)
for place, command in enumerate(of_zoo):
    pretrained.command(command, name=command.__name__.removeprefix("zoo_"), sort_key=place)
app.command(pretrained)
app.command(look_after.doctor, sort_key=len(first) + 1)
app.command(quiz.quiz, sort_key=len(first) + 2)
    compare.distance,
    compare.compare,
    compare.curve,
app.command(compare.map_, name="map", sort_key=len(first))
cache = App(name="cache", help="Stored embeddings and engine files: show, clear.", sort_key=len(first) + 1)
app.command(look_after.doctor, sort_key=len(first) + 2)
app.command(quiz.quiz, sort_key=len(first) + 3)


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
