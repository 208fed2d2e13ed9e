"""Turn a folder of photos into an image classifier you can trust, in seconds, on a laptop, offline.

>>> import topwork
>>> classifier = topwork.fit("photos/", test="more_photos/")
>>> classifier.predict("img.jpg").labels
>>> classifier.score("test/").accuracy
>>> classifier.save("pets.topwork")
>>> classifier = topwork.Classifier.load("pets.topwork")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "topwork.classifier",
    "FitSettings": "topwork.fitting",
    "Prediction": "topwork.answers",
    "Predictions": "topwork.answers",
    "Score": "topwork.answers",
    "TopworkError": "topwork.errors",
    "audit": "topwork.fitting",
    "compare_backbones": "topwork.compare.picker",
    "curve": "topwork.compare.learning",
    "distance": "topwork.compare.distance",
    "fit": "topwork.fitting",
    "load_backbone": "topwork.zoo",
    "picture_map": "topwork.compare.map",
}

__all__ = [
    "Classifier",
    "FitSettings",
    "Prediction",
    "Predictions",
    "Score",
    "TopworkError",
    "__version__",
    "audit",
    "compare_backbones",
    "curve",
    "distance",
    "fit",
    "load_backbone",
    "picture_map",
]

if TYPE_CHECKING:
    from topwork.answers import Prediction, Predictions, Score
    from topwork.classifier import Classifier
    from topwork.compare.distance import distance
    from topwork.compare.learning import curve
    from topwork.compare.map import picture_map
    from topwork.compare.picker import compare_backbones
    from topwork.errors import TopworkError
    from topwork.fitting import FitSettings, audit, fit
    from topwork.zoo import load_backbone


def __getattr__(name: str) -> Any:
    """Public names are looked up when first used, so that importing topwork costs nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'topwork' has no attribute {name!r}")
