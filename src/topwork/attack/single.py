"""One photo made to be misread: attacked at its own resolution, saved, and asked again from the file."""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from topwork.answers import NONE_OF_THESE, Prediction
from topwork.attack.attacked import Attack, Attacked
from topwork.attack.epsilon import LEVELS, ROUNDING, room, told, whole_levels
from topwork.attack.gradient import PGD
from topwork.attack.losses import Aim
from topwork.attack.norms import Norm, distances, project
from topwork.attack.opening import input_victim, photo_network
from topwork.attack.photos import photo_pixels, photos_victim
from topwork.attack.recheck import Checked, Wanted, ask, check_file, likeliest_class
from topwork.attack.subject import Subject
from topwork.attack.victim import Victim, Watched
from topwork.errors import InputError
from topwork.features.extract import Progress
from topwork.pictures.decode import Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.runtime import publish_file

Through = Literal["file", "input"]

MOST_LEVELS = 64
"""The largest change that `smallest` tries: a quarter of full brightness."""

FIRST_STRETCH, STRETCH_HALVINGS = 0.01, 3
"""Share by which a change that its file undoes is first taken further, and times that the last share is halved."""


@dataclass(frozen=True, eq=False)
class PhotoAttack:
    """One photo, before and after."""

    subject: str
    photo: str
    label: str
    """What the photo shows: as given, by its folder's name, or as the classifier says."""
    label_from: str
    target: str | None
    epsilon: float
    norm: str
    through: Through
    attack: str
    """The settings, as the call that makes them."""
    before: Prediction
    after: Prediction
    """Through a file: of the saved file, by `topwork predict`. Through the input: by float32 torch."""
    fooled: bool
    """By float32 torch, and through a file by `topwork predict` too, within epsilon as it was saved."""
    fooled_torch: bool
    distance: float
    distance_l2: float
    queries: int
    gradients: int
    seconds: float
    pixels: tuple[Pixels, Pixels]
    """Before and after, (H, W, 3)."""
    change: NDArray[np.float64]
    """(H, W, 3), of values in [0, 1]: through a file as it was saved, through the input as it was found."""
    attacked_path: Path | None
    checked: Checked | None
    tried: tuple[float, ...] = ()
    """The strengths that `smallest` tried."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        first, second = self.before, self.after
        return {
            "subject": self.subject,
            "photo": self.photo,
            "attacked_path": None if self.attacked_path is None else str(self.attacked_path),
            "fooled": self.fooled,
            "label": self.label,
            "label_from": self.label_from,
            "target": self.target,
            "label_before": likeliest_class(first),
            "label_after": likeliest_class(second),
            "probability_before": first.probability,
            "probability_after": second.probability,
            "none_of_these_after": second.none_of_these,
            "top_before": first.top,
            "top_after": second.top,
            "epsilon": self.epsilon,
            "epsilon_255": round(self.epsilon * LEVELS, 4),
            "norm": self.norm,
            "distance": self.distance,
            "distance_l2": self.distance_l2,
            "through": self.through,
            "attack": self.attack,
            "fooled_torch_f32": self.fooled_torch,
            **(self.checked.to_config() if self.checked is not None else {"engines": {}, "survives_jpeg": {}}),
            "tried_epsilons": list(self.tried),
            "queries": self.queries,
            "gradient_calls": self.gradients,
            "seconds": round(self.seconds, 3),
        }


def attack_photo(
    subject: Subject,
    photo: Path,
    attacked_path: Path | None = None,
    *,
    target: str | None = None,
    label: str | None = None,
    epsilon: float = 8 / 255,
    through: Through = "file",
    attack: Attack | None = None,
    smallest: bool = False,
    every_engine: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> PhotoAttack:
    """The photo attacked, saved where `attacked_path` says, and asked again.

    smallest: the least whole levels of brightness that fool, from 1/255 up; through the input, and as a length (l2), by
    halving; up to 64/255, or the length that this has everywhere.
    progress: told the gradients so far, and 0 for how many there will be: nobody knows when the photo gives in.
    Raises InputError for a photo that cannot be used or is misread already, and for a target that it shows already.
    """
    start = time.perf_counter()
    used: Attack = PGD(random_start=False, stop=False, seed=seed) if attack is None else attack
    wanted_target = None if target is None else subject.class_of(target)
    before = ask(subject, photo)
    label, label_from = shown(subject, photo, before, label)
    if wanted_target == label:
        raise InputError(f"{photo}: shows {label} already. Give another --target, or none for any other class.")
    try:
        image = decode(read_bytes(photo)).image
    except BadPicture as error:
        raise InputError(f"{photo}: {error.reason.value}: {error.detail}. Expected a picture that can be read.") from error
    if through == "file":
        pixels = np.array(image)
        victim: Victim
        victim, points = photos_victim(photo_network(subject), [pixels], subject.spec.geometry)
    else:
        pixels = to_pixels(image, subject.spec.geometry)
        victim, points = input_victim(subject), torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / LEVELS
    if progress is not None:
        victim = Watched(victim, lambda given: progress(given, 0))
    places = {name: torch.tensor([place]) for place, name in enumerate(subject.classes)}
    targets = None if wanted_target is None else places[wanted_target]
    labels = places[label]

    if int(victim.exact(points).argmax(1)) != int(labels):
        raise InputError(
            f"{photo}: is misread already by torch in float32, and only by a hair read rightly by {subject.name}. It counts as "
            "no success of an attack. Give another photo."
        )
    runs: list[Attacked] = []
    wanted = Wanted(label, wanted_target)
    aim = Aim(labels, targets)

    def within(change: NDArray[np.float64], size: float) -> bool:
        return used.norm == "linf" or float(np.linalg.norm(change)) <= size * (1 + ROUNDING) + ROUNDING

    def misread(image: Tensor, size: float) -> bool:
        """By float32 torch and by `topwork predict`, from a file whose change is within `size` once it is rounded."""
        saved = _pixels_of(image, pixels, through)
        if not within((saved.astype(np.float64) - pixels) / LEVELS, size) or not bool(aim.fooled(victim.exact(image))[0]):
            return False
        with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
            file = Path(folder) / "attacked.png"
            save_png(saved, file)
            return wanted.fooled(ask(subject, file))

    def run(size: float) -> tuple[Tensor, bool]:
        reach = size
        if through == "file":
            reach = whole_levels(size) if used.norm == "linf" else room(size, points.numel(), used.norm)
        runs.append(used(victim, points, labels, [reach], targets))
        image = runs[-1].images[0]
        if through == "input":
            return image, bool(runs[-1].success[0, 0])
        return _further(image, points, reach, used.norm, lambda one: misread(one, size))

    if smallest:
        level = 1 / LEVELS if used.norm == "linf" else math.sqrt(points.numel()) / LEVELS
        attacked, epsilon, tried = _smallest(run, level, through == "file" and used.norm == "linf")
    else:
        if through == "file" and used.norm == "linf" and whole_levels(epsilon) == 0:
            raise InputError(f"epsilon {told(epsilon)}: a file of 8 bits holds steps of 1/255. Expected 1/255 or more.")
        (attacked, _), tried = run(epsilon), ()
    after_pixels = _pixels_of(attacked, pixels, through)
    fooled_torch = bool(aim.fooled(victim.exact(attacked))[0])
    checked = None
    if through == "file" and attacked_path is not None:
        save_png(after_pixels, attacked_path)
        checked = check_file(subject, attacked_path, wanted, every_engine)
        after = checked.answer
    else:
        after = _by_torch(subject, victim, attacked, photo)
    if through == "file":
        change = (after_pixels.astype(np.float64) - pixels) / LEVELS
    else:
        change = (attacked - points)[0].permute(1, 2, 0).double().numpy()
    distance, distance_l2 = float(np.abs(change).max()), float(np.linalg.norm(change))
    fooled = fooled_torch and (checked is None or (wanted.fooled(after) and within(change, epsilon)))
    if smallest and fooled:  # a change may end well within the strength that was allowed
        epsilon = min(epsilon, distance if used.norm == "linf" else distance_l2)
    return PhotoAttack(
        subject.name,
        str(photo),
        label,
        label_from,
        wanted_target,
        epsilon,
        used.norm,
        through,
        repr(used),
        before,
        after,
        fooled,
        fooled_torch,
        distance,
        distance_l2,
        sum(int(one.queries.sum()) for one in runs),
        sum(int(one.gradients.sum()) for one in runs),
        time.perf_counter() - start,
        (pixels, after_pixels),
        change,
        attacked_path if checked is not None else None,
        checked,
        tried,
    )


def shown(subject: Subject, photo: Path, before: Prediction, given: str | None) -> tuple[str, str]:
    """(class that the photo shows, where that is known from). Raises InputError where the classifier says otherwise."""
    answer = likeliest_class(before)
    if answer is None:
        raise InputError(f"{photo}: has no answer. Expected a picture that can be read.")
    folder = photo.resolve().parent.name
    label, where = (subject.class_of(given), "--label") if given is not None else (subject.known(folder), "its folder's name")
    if label is None:
        return answer, "the classifier's answer"
    if label != answer:
        raise InputError(
            f"{photo}: is misread already: {where} says {label}, {subject.name} says {answer}. It counts as no success of an "
            f"attack. Give a photo that is read rightly, or --label {answer}."
        )
    return label, where


def _further(image: Tensor, clean: Tensor, reach: float, norm: Norm, misread: Callable[[Tensor], bool]) -> tuple[Tensor, bool]:
    """(image, whether it is misread): a change that ends before `reach` and is not misread from its file is taken further.

    An attack for the smallest change stops at the border, where rounding to 8 bits, or another engine, undoes it. So it is
    stretched along its own line, by a hundredth more and then by twice as much each time; then halving shortens what was added.
    """
    if misread(image):
        return image, True
    size = float(distances(image, clean, norm))

    def at(more: float) -> Tensor:
        return project(clean + (1 + more) * (image - clean), clean, torch.tensor([reach]), norm)

    low, high, strongest = 0.0, FIRST_STRETCH, image
    while size > 0 and (1 + low) * size < reach:
        strongest = at(high)
        if misread(strongest):
            for _ in range(STRETCH_HALVINGS):
                middle = (low + high) / 2
                if misread(shorter := at(middle)):
                    strongest, high = shorter, middle
                else:
                    low = middle
            return strongest, True
        low, high = high, 2 * high
    return strongest, False


def _smallest(
    run: Callable[[float], tuple[Tensor, bool]], level: float, whole: bool
) -> tuple[Tensor, float, tuple[float, ...]]:
    """(image, its epsilon, what was tried): doubled until it fools, then halved between the last two.

    level: the epsilon of one step of an 8-bit file; whole: only whole ones count.
    """
    tried: list[float] = []

    def at(levels: float) -> tuple[Tensor, bool]:
        tried.append(levels * level)
        return run(tried[-1])

    high = 1.0 if whole else 0.25
    low, (found, done) = 0.0, at(high)
    while not done and high < MOST_LEVELS:
        low, high = high, high * 2
        found, done = at(high)
    finest = 1.0 if whole else high / 16
    while high - low > finest and done:
        middle = float(int(low + high) // 2) if whole else (low + high) / 2
        one, less = at(middle)
        if less:
            found, high = one, middle
        else:
            low = middle
    return found, high * level, tuple(tried)


def _pixels_of(points: Tensor, before: Pixels, through: Through) -> Pixels:
    if through == "file":
        return photo_pixels(points, [before.shape[:2]])[0]
    return np.asarray((points[0].permute(1, 2, 0) * LEVELS).round().numpy().astype(np.uint8))


def _by_torch(subject: Subject, victim: Victim, points: Tensor, photo: Path) -> Prediction:
    probs = victim.exact(points).softmax(1)[0]
    values, order = probs.topk(min(5, len(probs)))
    ranking = [
        {"label": subject.classes[place], "probability": round(value, 6)}
        for place, value in zip(order.tolist(), values.tolist(), strict=True)
    ]
    return Prediction(str(photo), ranking[0]["label"], ranking[0]["probability"], False, ranking)


def save_png(pixels: Pixels, path: Path) -> None:
    """Write pixels (H, W, 3) as a PNG, in one step. Raises StorageError."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    publish_file(path, out.getvalue())


def said(answer: Prediction) -> str:
    """An answer in words: cat 98.2 %; none of these (most like cat 98.2 %)."""
    chance = f"{100 * (answer.probability or 0):.1f} %"
    if answer.none_of_these:
        return f"{NONE_OF_THESE} (most like {likeliest_class(answer)} {chance})"
    return f"{likeliest_class(answer)} {chance}"
