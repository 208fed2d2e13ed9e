"""The training tricks: each a setting with its default, a sentence of why, and its source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

from topwork.errors import InputError

HEAD_STARTS = ("probe", "xavier", "kaiming", "normal", "uniform", "zeros")
OPTIMISERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle")


@dataclass(frozen=True)
class Tricks:
    """How the learning is done."""

    epochs: int = 12
    """Times that every training picture is seen in one learning, at most; with folds and refit there may be six learnings."""
    batch_size: int = 32
    """Pictures of one step. Small batches find flatter minima (Keskar 2017); below 16 a processor's cores idle."""
    optimiser: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = "adamw"
    """How a gradient becomes a step. AdamW: one rate fits layers of any scale, and decay stays decay (Loshchilov 2019)."""
    rate: float = 1e-3
    """Size of the steps at the peak of the schedule. Small, because the weights are good already; `find_rate` measures it."""
    schedule: Literal["constant", "step", "exponential", "cosine", "one-cycle"] = "cosine"
    """The rate over time. Cosine to zero: large steps first, then ever finer ones (Loshchilov 2017); one-cycle: Smith 2018;
    exponential: x 0.98 an epoch; step: x 0.1 after 60 % and 85 % of the steps."""
    warm_up: float = 0.1
    """Share of the steps in which the rate grows from zero: Adam's first estimates are noise (Goyal 2017). For cosine."""
    layer_decay: float = 0.85
    """Factor on the rate per block away from the head: early blocks know more that is general (Howard 2018, Clark 2020). The
    whole network (all) learns at one rate."""
    head_rate: float = 1.0
    """Factor on the rate of the head. 1: a tuned head need not hurry; 10 suits a head that starts from chance."""
    weight_decay: float = 0.02
    """Pull of the weights to zero, not on biases and norms: small weights give smooth functions (Krogh 1992)."""
    l2_sp: float = 0.0
    """Pull of the weights to where they started instead: helps where pictures are few (Li 2018)."""
    head_start: Literal["probe", "xavier", "kaiming", "normal", "uniform", "zeros"] = "probe"
    """First weights of the head. probe: the head that was fitted to these pictures, so that no wrong head spoils the features
    (LP-FT, Kumar 2022); xavier (Glorot 2010), kaiming (He 2015), normal and uniform of width 0.01, zeros."""
    batch_norm: Literal["frozen", "updated"] = "frozen"
    """Statistics of batch normalisation. Frozen: those of a million pictures beat those of a batch; and they fold into the
    convolutions, which saves time."""
    dropout: float = 0.1
    """Share of the features that the head does not see, drawn anew each time: none is leaned on alone (Srivastava 2014)."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes: nothing is gained by ever larger logits (Szegedy 2016)."""
    clip: float = 1.0
    """Longest gradient; a longer one is shortened: one odd batch cannot throw the weights far (Pascanu 2013). 0: never."""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """What numbers are multiplied as while the last blocks learn on a processor; weights and answers stay float32. auto: bf16
    where it multiplies that natively, twice as fast with all the range that gradients need (Kalamkar 2019). The head alone, the
    whole network and adversarial training take f32, CUDA bf16."""
    averaging: Literal["none", "ema", "swa"] = "ema"
    """Weights that are kept: the last; their exponential average (Polyak 1992), which forgets the noise of single batches; or
    the mean of the last third of the epochs (SWA, Izmailov 2018)."""
    interpolation: Literal["auto", "none"] = "auto"
    """Ends between the first weights and the best, where validation loss is least: what the steps unlearned comes back
    (WiSE-FT, Wortsman 2022)."""
    refit: Literal["auto", "none"] = "auto"
    """Learns once more where it helped, from all pictures but the test, those that chose too: a quarter more (Goodfellow 2016,
    7.8)."""
    patience: int = 8
    """Epochs without a better validation loss after which it stops; the best weights are kept (Prechelt 1998). 0: never. Long,
    for while the rate is large the loss is often worse than at the start, and falls with the rate."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class weighs the same, whatever its number of pictures (King 2001)."""
    augment: Literal["none", "light", "strong"] = "light"
    """Views of a picture. light: flips, crops, a little colour: what changes no answer should change no feature; strong: also
    two random operations (RandAugment, Cubuk 2020)."""
    turns: Literal["auto", "yes", "no"] = "auto"
    """Quarter turns among the views: right for pictures without an up, as from above; auto asks the probe whether its answers
    survive them."""
    views: int = 12
    """Different views of every picture; one that was made stays on disk and costs nothing the next time. As many as epochs: a
    view seen twice is learned by heart (satellite tiles: validation loss .175 with four, .144 with twelve)."""
    mixing: Literal["none", "mixup", "cutmix"] = "none"
    """Blends pairs of pictures and their labels (mixup, Zhang 2018) or pastes a part of one into the other (cutmix, Yun 2019),
    at the depth where the learning part begins (manifold mixup, Verma 2019)."""
    lora: int = 0
    """Rank of low-rank updates of a transformer's linear layers, in place of all their weights (Hu 2022). 0: all weights."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, choices = getattr(self, field.name), get_args(hints[field.name])
            if choices and value not in choices:
                raise InputError(f"{field.name}: expected one of {', '.join(choices)}, got {value}.")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name}: expected {low:g} to {high:g}, got {value:g}.")


_RANGES = (
    ("epochs", 1, 10_000),
    ("batch_size", 1, 4096),
    ("rate", 1e-9, 100),
    ("warm_up", 0, 0.9),
    ("layer_decay", 0.01, 1),
    ("head_rate", 0, 1000),
    ("weight_decay", 0, 10),
    ("l2_sp", 0, 10),
    ("dropout", 0, 0.95),
    ("label_smoothing", 0, 0.9),
    ("clip", 0, 1e9),
    ("patience", 0, 10_000),
    ("views", 1, 1000),
    ("lora", 0, 512),
)
