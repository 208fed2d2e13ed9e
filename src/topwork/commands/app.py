"""The command line. Results on stdout, everything else on stderr; a mistake is one message, a bug keeps its traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from topwork import __version__
from topwork.commands import usage
from topwork.commands.common import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, warn
from topwork.commands.settings import sources
from topwork.errors import TopworkError

COMMANDS: tuple[tuple[str, str, str], ...] = (
    (
        "demo",
        "demo:demo",
        "Fit, score and ask a classifier of real handwritten digits, offline and with nothing of your own.",
    ),
    ("fit", "classify:fit", "Fit a classifier to labelled pictures and write it as a bundle."),
    ("predict", "classify:predict", "Say what pictures show."),
    ("score", "classify:score", "Tell how good a classifier's answers to labelled pictures are."),
    ("audit", "look_after:audit", "Find what is wrong with labelled pictures; nothing is changed."),
    ("embed", "look_after:embed", "Write the features of pictures as .npz or .parquet."),
    (
        "finetune",
        "finetune:finetune",
        "Train the last part of a classifier's network on, keep it if that helped, and write a new bundle.",
    ),
    (
        "tricks",
        "finetune:tricks",
        "Try out the training tricks on your own pictures, one at a time, against one base recipe.",
    ),
    ("look", "look:look", "Show what the layers of a network see in a picture."),
    ("explain", "look:explain", "Show which pixels of a picture made the answer."),
    ("ideal", "look:ideal", "Make the picture that a network has in mind for a class."),
    (
        "attack",
        "attack:attack",
        "Change a photo a little, until the classifier sees something else; or measure how little a folder of photos takes.",
    ),
    (
        "distance",
        "distance:distance",
        "Tell how strange pictures are to a network, what it takes them for, and what to train.",
    ),
    (
        "compare",
        "compare:compare",
        "Try networks on labelled pictures, measured on this machine, and pick one. Nothing is fetched.",
    ),
    (
        "curve",
        "curve:curve",
        "Tell how many more photos it takes: accuracy against pictures a class, with a forecast.",
    ),
    (
        "map",
        "curve:map_",
        "Draw a folder as a map: alike pictures near each other, suspect labels and strangers ringed.",
    ),
    ("zoo list", "zoo:zoo_list", ""),
    ("zoo show", "zoo:zoo_show", ""),
    ("zoo get", "zoo:zoo_get", ""),
    ("zoo classes", "zoo:zoo_classes", ""),
    ("zoo bench", "zoo:zoo_bench", ""),
    ("data list", "data:data_list", ""),
    ("data get", "data:data_get", ""),
    ("cache show", "look_after:cache_show", ""),
    ("cache clear", "look_after:cache_clear", ""),
    ("doctor", "look_after:doctor", "Show versions, processor, engines and caches, and why each engine was chosen."),
    ("quiz", "quiz:quiz", "Ask ten questions about pretrained networks and tell what to read again."),
)
"""In the order of `topwork --help`: words, module and function, and the first line of its docstring, so that the list of all
commands needs none of their modules. Those of two words are listed by their group."""

GROUPS = {
    "zoo": "The pretrained networks: list, show, get, classes, bench.",
    "data": "Well-known data sets as class folders: list, get.",
    "cache": "Stored embeddings and engine files: show, clear.",
}


def register(titles: bool) -> App:
    """The app with its commands, each loaded when it is asked for; with `titles` told by their first lines alone."""
    made = App(
        name="topwork",
        help="Turn a folder of photos into an image classifier you can trust, in seconds, on a laptop, offline.",
        help_epilogue=(
            "A flag that is not given is looked for as TOPWORK_FLAG in the environment, then in topwork.toml. "
            "Exit codes: 0 done, 1 a mistake to mend, 2 usage, 3 done but some pictures could not be used or a photo "
            "withstood its attack, 4 --fail-under or a budget missed, 130 interrupted."
        ),
        help_format="plaintext",  # markdown would cost a third of the time that --help takes
        version=__version__,
        suppress_keyboard_interrupt=False,
    )
    made.config = sources(made)
    groups: dict[str, App] = {}
    for place, (words, home, title) in enumerate(COMMANDS):
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = App(name=group, help=GROUPS[group], sort_key=place)
            made.command(groups[group])
        told = {"help": title} if titles and not group else {}
        groups.get(group, made).command(f"topwork.commands.{home}", name=name, sort_key=place, **told)
    return made


app = register(titles=False)


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit code, and every mistake is told on stderr."""
    sys.stdout, sys.stderr = (one or open(os.devnull, "w") for one in (sys.stdout, sys.stderr))  # noqa: SIM115 - closed at start
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        listing = not words or words[0] in ("-h", "--help")
        chosen = register(titles=True) if listing else app
        if words and words[0] in GROUPS:
            app[words[0]].resolved_commands()  # a group's help tells what its commands say of themselves
        code = chosen(list(words), result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except TopworkError as error:
        warn(f"topwork: {error}")
        return EXIT_ERROR
    except CycloptsError as error:
        warn(f"topwork: {usage.told(error, app, [words for words, _, _ in COMMANDS])}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        warn("topwork: interrupted; what was stored is kept, and no half-written file is left")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the result has gone. Python would complain once more when it closes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    return code if isinstance(code, int) else 0
