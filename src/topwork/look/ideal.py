"""The picture a network holds in mind for a class: a picture is changed, step by step, until the network says the class.

Three parts that know nothing of each other: what is optimised (parameters), what is climbed (objectives), and how the picture
is shown in each step (transforms). A recipe is a choice of all three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.errors import InputError, UnknownName
from topwork.frozen.gradient import FrozenGradient, frozen_gradient
from topwork.grafted import Grafted
from topwork.look.natural import PHOTOS, Natural
from topwork.look.objectives import Channels, Terms, penalties
from topwork.look.parameters import PARAMETERS, Colour, parameters
from topwork.look.transforms import PLAIN, Transforms, Views
from topwork.pictures.decode import Pixels
from topwork.process import keep_freed_memory

MOST_PIXELS = 4096
"""A larger side is refused before any work."""

MEMORY_A_PIXEL = 400
"""Bytes that the optimisation of one pixel takes, about: parameters, their two moments, planes, views, gradients."""


@dataclass(frozen=True)
class Recipe:
    """How ideal pictures are made."""

    parameters: str = "fourier"
    """pixels, fourier or maco."""
    steps: int = 448
    rate: float = 0.05
    """Learning rate of Adam (Kingma 2015)."""
    terms: Terms = field(default_factory=Terms)
    transforms: Transforms = field(default_factory=Transforms)
    natural: Natural = PHOTOS
    """Of the photos whose colours, contrast and detail are followed."""


LESSON = Recipe("pixels", 200, 0.02, Terms(entropy=1.0, variation=10.0), PLAIN)
FOURIER = Recipe(terms=Terms(entropy=0.45, likeness=5.0))
MACO = Recipe("maco", 256, 0.1, Terms(likeness=5.0))
RECIPES = {"lesson": LESSON, "fourier": FOURIER, "maco": MACO}

FRAMES = 60
"""Of a film, about."""

SHOWN_STEPS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Steps whose pictures are kept for the strip."""


@dataclass(frozen=True)
class Step:
    """The pictures after a step."""

    number: int
    pixels: Pixels
    """(N, H, W, 3)."""
    probs: NDArray[np.float32]
    """(N,) the network's probability of the class of each, for the whole picture; of a channel its mean."""


@dataclass(frozen=True)
class Ideal:
    """Ideal pictures, and how they came about."""

    classes: list[str]
    """Of each picture."""
    pixels: Pixels
    """(N, H, W, 3)."""
    images: NDArray[np.float32]
    """(N, 3, H, W) in [0, 1], before they were rounded to 8 bits."""
    losses: dict[str, NDArray[np.float32]]
    """Each part of the loss by step (steps, N); their sum goes down."""
    strip: list[Step]
    frames: list[Pixels]
    """(N, h, w, 3) at more steps, for a film, no larger than the network sees; empty where none was asked for."""
    seconds: float
    engine: str


Told = Callable[[int, int], None]


def ideal(
    network: Grafted,
    targets: Sequence[int],
    recipe: Recipe = FOURIER,
    *,
    size: int = 0,
    seed: int = 0,
    loop: bool = False,
    layer: str | None = None,
    engine: str = "auto",
    progress: Told | None = None,
) -> Ideal:
    """One picture for each of `targets`: classes of the network or, with `layer`, channels of that layer.

    size: side in pixels, 0 for the network's own. loop: keep pictures on the way. Raises InputError or UnknownName.
    """
    start = time.perf_counter()
    keep_freed_memory()
    seen = network.spec.geometry.size
    size = check(recipe, size or seen, len(targets), seen)
    asked: nn.Module = network if layer is None else Channels(network, layer)
    generator = torch.Generator().manual_seed(seed)
    try:
        if isinstance(asked, Channels):
            with torch.no_grad():
                count = asked(torch.rand(1, 3, seen, seen)).shape[1]
            recipe = replace(recipe, terms=replace(recipe.terms, entropy=0.0))  # channels are no probabilities
        else:
            count = len(network.classes)
        note = "" if layer is None else f"layer {layer}"
        gradient = frozen_gradient(_one_look(asked), seen, engine=engine, note=note)  # type: ignore[arg-type]
        linear = nn.functional.one_hot(torch.tensor(targets), count).float()
        names = [network.classes[place] if layer is None else f"{layer} channel {place}" for place in targets]
        run = _Run(recipe, gradient, linear, torch.tensor(targets), seen, layer is None)
        made = parameters(recipe.parameters, len(targets), size, generator, recipe.natural, Colour(recipe.natural))
        losses, strip, frames = run.climb(made, generator, loop, progress)
        images = made.images().detach().numpy()
    finally:
        if isinstance(asked, Channels):
            asked.close()
    seconds = time.perf_counter() - start
    told = f"{gradient.engine} {gradient.precision}"
    return Ideal(names, strip[-1].pixels, images, losses, strip, frames, seconds, told)


def check(recipe: Recipe, size: int, count: int, seen: int) -> int:
    """`size`, if pictures of that side can be made. Raises InputError or UnknownName."""
    if recipe.parameters not in PARAMETERS:
        raise UnknownName("parameters", recipe.parameters, PARAMETERS)
    if recipe.steps < 1:
        raise InputError(
            f"--steps: expected 1 or more, found {recipe.steps}. With 0 steps the picture would be the noise it starts from."
        )
    if not 0 < recipe.rate < 100:
        raise InputError(f"--rate: expected a number above 0, found {recipe.rate}.")
    if not 32 <= size <= MOST_PIXELS:
        raise InputError(f"--size: expected 32 to {MOST_PIXELS} pixels, found {size}.")
    needed, free = count * (size * size + 2 * seen * seen) * MEMORY_A_PIXEL, _free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{count} pictures of {size} x {size} need about {needed / 2**30:.1f} GiB of memory, "
            f"and {free / 2**30:.1f} GiB are free. Ask for fewer at once, or for a smaller --size."
        )
    return size


@dataclass(frozen=True)
class _Run:
    recipe: Recipe
    gradient: FrozenGradient
    linear: Tensor
    groups: Tensor
    seen: int
    classes: bool
    """Whether what is climbed are classes, not channels."""

    def climb(
        self, made: Any, generator: torch.Generator, loop: bool, progress: Told | None
    ) -> tuple[dict[str, NDArray[np.float32]], list[Step], list[Pixels]]:
        """All steps: the parts of the loss, the pictures of some steps, and of more for a film."""
        recipe, terms = self.recipe, self.recipe.terms
        views = Views(self.seen, recipe.transforms, generator)
        optimiser = torch.optim.Adam(made.leaves, lr=recipe.rate, fused=True)
        losses: dict[str, list[Tensor]] = {}
        strip: list[Step] = []
        frames: list[Pixels] = []
        shown = {step for step in SHOWN_STEPS if step < recipe.steps} if loop else set()
        every = -(-recipe.steps // FRAMES)
        for step in range(recipe.steps):
            images = made.images()
            if step in shown:
                strip.append(self._shown(step, images))
            if loop and step % every == 0:
                frames.append(self._frame(images))
            seen = views(images, step / recipe.steps)
            logits, gradient = self.gradient(seen.detach(), self.linear, terms.entropy)
            climbed = (self.linear * logits).sum(1) - terms.entropy * logits.logsumexp(1)
            parts = penalties(images, terms, self.groups)
            optimiser.zero_grad(set_to_none=True)
            pulled: list[Tensor] = [seen, *(part.sum() for part in parts.values())]
            torch.autograd.backward(pulled, [-gradient, *(torch.ones(()) for _ in parts)])
            optimiser.step()
            for name, part in {"class": -climbed, **parts}.items():
                losses.setdefault(name, []).append(part.detach())
            if progress is not None:
                progress(step + 1, recipe.steps)
        images = made.images()
        strip.append(self._shown(recipe.steps, images))
        if loop:
            frames.append(self._frame(images))
        return {name: torch.stack(values).numpy() for name, values in losses.items()}, strip, frames

    def _shown(self, step: int, images: Tensor) -> Step:
        logits = self.gradient.logits(_resized(images, self.seen))
        answers = logits.softmax(1) if self.classes else logits
        return Step(step, _pixels(images), (answers * self.linear).sum(1).numpy())

    def _frame(self, images: Tensor) -> Pixels:
        return _pixels(_resized(images, min(self.seen, images.shape[2])))


def _one_look(network: nn.Module) -> nn.Module:
    """The network of one look only: views are mirrored at random anyway, and a second look would double the time."""
    if isinstance(network, Grafted) and network.mirrored:
        return Grafted(network.backbone, network.head, network.classes, mirrored=False)
    return network


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[2] == size:
        return images.detach()
    return nn.functional.interpolate(images.detach(), size=size, mode="bilinear", antialias=True, align_corners=False)


def _pixels(images: Tensor) -> Pixels:
    """The pictures as they are saved: uint8 (N, H, W, 3)."""
    return np.ascontiguousarray((images.detach() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())


def _free_memory() -> int | None:
    """Bytes of memory that are free for use; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
