"""demo: the whole way on real pictures that come with the install."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from topwork.commands.common import Quiet, percent, progress_bar


def demo(folder: Path = Path("topwork-demo"), /, *, quiet: Quiet = False) -> int:
    """Fit, score and ask a classifier of real handwritten digits, offline and with nothing of your own.

    Parameters
    ----------
    folder
        Where to work; made if it is not there.
    """
    from topwork.demo import write_digits
    from topwork.fitting import fit

    train, test = write_digits(folder)
    print(f"1. Real handwritten digits (Alpaydin and Kaynak, 1998) now lie as class folders in {train} and {test}.")
    with progress_bar("features", quiet) as progress:
        classifier = fit(train, test=test, progress=progress)
    bundle = folder / "digits.topwork"
    classifier.save(bundle)
    facts = classifier.facts
    score = facts["score"]
    print(
        f"2. A network that was trained on photos of things looked at {facts['data']['train']} of them; a small head on top\n"
        f"   learned the digits. Of {score['n']} others that it never saw, {percent(score['accuracy'])} come out right\n"
        f"   (95 % interval {percent(score['accuracy_low'])} to {percent(score['accuracy_high'])}). "
        f"{facts['timings']['seconds']:.1f} seconds in all."
    )
    some = sorted(test.glob("*/*.png"))[::73][:4]
    print("3. It answers single pictures:")
    for row in classifier.predict(some):
        ranking = ", ".join(f"{one['label']} {percent(one['probability'])}" for one in row.top[:2])
        print(f"     {row.path}: {row.label} ({ranking})")
    print(
        f"4. All that was found out is told in {bundle / 'report.html'}: open it in a browser.\n"
        "\n"
        "Now with your own photos, one folder per class:\n"
        f"     {_called()} audit photos/\n"
        f"     {_called()} fit photos/ -o mine.topwork\n"
        f"     {_called()} predict mine.topwork photo.jpg"
    )
    return 0


def _called() -> str:
    """What to type for topwork: its path, where the shell would not find it by name."""
    run = Path(sys.argv[0])
    return "topwork" if shutil.which("topwork") or run.name != "topwork" else str(run)
