"""Whether a file on disk fools: asked by the ordinary way, on every engine, and again after it was saved as a JPEG."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from topwork.answers import Prediction
from topwork.attack.subject import Subject, engines
from topwork.errors import InputError
from topwork.pictures.decode import decode, read_bytes

QUALITIES = (95, 90, 75, 50)
"""Of JPEG; cameras save at 90 to 95, messengers at about 75."""


@dataclass(frozen=True)
class Wanted:
    """What counts as fooled: another class than `label`, or `target` where one is given."""

    label: str
    target: str | None = None

    def fooled(self, answer: Prediction) -> bool:
        """Whether the likeliest class of an answer is what the attack wanted; it may still be called none of these."""
        likeliest = likeliest_class(answer)
        return likeliest == self.target if self.target is not None else likeliest not in (self.label, None)


@dataclass(frozen=True)
class Checked:
    """What became of an attacked file."""

    answer: Prediction
    """By the engine that `topwork predict` uses."""
    engines: dict[str, bool]
    """By each engine, whether it is fooled."""
    jpeg: dict[int, bool]
    """By JPEG quality, whether the file saved so still fools `topwork predict`."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return {"engines": self.engines, "survives_jpeg": {str(quality): kept for quality, kept in self.jpeg.items()}}


def likeliest_class(answer: Prediction) -> str | None:
    """The class at the top of the ranking, also of an answer that is none of these."""
    return answer.top[0]["label"] if answer.top else None


def ask(subject: Subject, file: Path) -> Prediction:
    """What `topwork predict` says of one file. Raises InputError where it cannot be used."""
    answer = subject.answers([file])[0]
    if answer.error is not None:
        raise InputError(f"{file}: {answer.error}. Expected a picture that can be read.")
    return answer


def check_file(subject: Subject, file: Path, wanted: Wanted, every_engine: bool = True) -> Checked:
    """The file asked again by every engine, and after JPEG at each quality."""
    asked = {}
    for name, engine in engines(subject) if every_engine else ():
        asked[name] = wanted.fooled(ask(subject.run_by(engine), file))
    return Checked(ask(subject, file), asked, survives_jpeg(subject, file, wanted))


def survives_jpeg(subject: Subject, file: Path, wanted: Wanted) -> dict[int, bool]:
    """By quality, whether the file still fools when it is saved as a JPEG."""
    image: Image.Image = decode(read_bytes(file)).image
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        files = [Path(folder) / f"{quality}.jpg" for quality in QUALITIES]
        for quality, one in zip(QUALITIES, files, strict=True):
            image.save(one, "JPEG", quality=quality)
        answers = subject.answers(files)
    return {quality: wanted.fooled(answer) for quality, answer in zip(QUALITIES, answers, strict=True)}
