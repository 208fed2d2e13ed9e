"""The head a bundle carries: one matrix on one view of the features. Every kind of search ends in this form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError
from topwork.heads.designs import Design, transformed
from topwork.heads.metrics import softmax

Float32 = NDArray[np.float32]

TRANSFORMS = ("none", "sqrt")


@dataclass(frozen=True, eq=False)
class Head:
    """logits = transform(features[:, columns]) @ weight.T + bias; standardisation is folded into both."""

    kind: str
    """How the weights were found: "logistic", "discriminant" or "blend"."""
    view: str
    """Name of the view the columns are."""
    columns: NDArray[np.int64]
    """(D,) which columns of the full features the head reads."""
    width: int
    """Columns the full features have."""
    mirrored: bool
    """Whether the caller must pass the mean of the features of a picture and of its mirror image."""
    transform: str
    """"none" or "sqrt" (signed square root)."""
    weight: Float32
    """(K, D)."""
    bias: Float32
    """(K,)."""
    temperature: float = 1.0

    def logits(self, features: Float32) -> Float32:
        """Logits (N, K) of full features (N, D_full), before the temperature."""
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"expected features (N, {self.width}), got {features.shape}")
        return np.asarray(transformed(features[:, self.columns], self.transform) @ self.weight.T + self.bias, np.float32)

    def probs(self, features: Float32) -> Float32:
        """Probabilities (N, K) of full features (N, D_full)."""
        return softmax(self.logits(features), self.temperature)

    def with_temperature(self, temperature: float) -> Head:
        """The same head with another temperature."""
        return replace(self, temperature=temperature)

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays to store."""
        return {"head.weight": self.weight, "head.bias": self.bias, "head.columns": self.columns}

    def to_config(self) -> dict[str, Any]:
        """What to store beside the arrays, as JSON can say it."""
        return {
            "kind": self.kind,
            "view": self.view,
            "mirrored": self.mirrored,
            "transform": self.transform,
            "temperature": self.temperature,
            "classes": len(self.bias),
            "width": self.width,
        }

    @classmethod
    def from_parts(cls, config: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Head:
        """The head of `to_config` and `to_tensors`. Raises BundleError naming the first thing that does not fit."""
        kind, view = entry(config, "kind", str), entry(config, "view", str)
        mirrored, transform = entry(config, "mirrored", bool), entry(config, "transform", str)
        temperature = float(entry(config, "temperature", (int, float)))
        classes, width = entry(config, "classes", int), entry(config, "width", int)
        if transform not in TRANSFORMS:
            raise BundleError(f"head: expected transform one of {', '.join(TRANSFORMS)}, found {transform!r}")
        if not (np.isfinite(temperature) and temperature > 0):
            raise BundleError(f"head: expected a temperature above 0, found {temperature}")
        columns = tensor(tensors, "head.columns", (None,), "iu").astype(np.int64)
        if len(columns) and (columns.min() < 0 or columns.max() >= width):
            raise BundleError(f"head.columns: expected values in 0..{width - 1}, found {columns.min()}..{columns.max()}")
        weight = tensor(tensors, "head.weight", (classes, len(columns)), "f").astype(np.float32)
        bias = tensor(tensors, "head.bias", (classes,), "f").astype(np.float32)
        return cls(kind, view, columns, width, mirrored, transform, weight, bias, temperature)


def folded(data: Design, weights: Float32) -> tuple[Float32, Float32]:
    """(weight (K, D), bias (K,)) on transformed features, from weights (D + 1, K) on standardised ones."""
    weight = weights[:-1] * data.scale[:, None]
    bias = weights[-1].astype(np.float64) - data.mean.astype(np.float64) @ weight.astype(np.float64)
    return np.ascontiguousarray(weight.T), bias.astype(np.float32)


def entry(config: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """config[name], checked to be a `kind`; raises BundleError."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    value = config.get(name)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(one.__name__ for one in kinds)
        raise BundleError(f"{name}: expected {wanted}, found {value!r}. The bundle is damaged or from another version.")
    return value


def tensor(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int | None, ...], kinds: str) -> NDArray[Any]:
    """tensors[name], checked for shape (None: any length), dtype kind and finite values; raises BundleError."""
    value = tensors.get(name)
    if value is None:
        raise BundleError(f"{name}: missing. The bundle is damaged or from another version.")
    fits = value.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, value.shape, strict=True))
    if not fits or value.dtype.kind not in kinds:
        raise BundleError(f"{name}: expected shape {shape}, found {value.shape} {value.dtype}.")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BundleError(f"{name}: holds values that are not finite.")
    return value
