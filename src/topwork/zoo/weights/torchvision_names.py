"""torchvision's state dicts under the names of timm's networks: VGG, MobileNetV2 and MobileNetV3.

ResNets have the same names in both. Only for the networks named here: others of the same shapes pad differently, and would
take the tensors and give wrong answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from topwork.zoo.weights.matching import Plan, Taken

_VGG = {f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")}
_V2 = {"mobilenetv2_100"}
_V3 = {"mobilenetv3_large_100", "mobilenetv3_small_100"}

_V3_EPSILON = 1e-3
"""What torchvision adds to the variances of MobileNetV3; timm's networks add 1e-5."""

_VGG_LINEAR = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
"""timm has the first two as convolutions: same numbers, another shape."""


def torchvision_plan(architecture: str, wanted: Mapping[str, object], names: Mapping[str, str], epsilon: float) -> Plan | None:
    """Where each tensor of a timm network comes from in a file of torchvision; None for other networks and files.

    names: the file's names by plain name, see `plain_names`. epsilon: what the network adds to its variances. Where
    torchvision adds another, the difference goes into the variances: sqrt(v + 1e-3) = sqrt((v + 1e-3 - 1e-5) + 1e-5).
    """
    if architecture in _VGG and "classifier.0.weight" in names:
        renamed = {name: _vgg_name(name) for name in wanted}
    elif architecture in _V2 | _V3 and "features.0.0.weight" in names:
        renamed = _mobile_names(list(wanted), v3=architecture in _V3)
    else:
        return None
    plus = _V3_EPSILON - epsilon if architecture in _V3 else 0.0
    return {
        name: Taken(
            names.get(theirs, theirs),
            reshape=name.startswith(("pre_logits.", "conv_head.")),
            plus=plus if name.endswith(".running_var") else 0.0,
        )
        for name, theirs in renamed.items()
        if theirs in names or not theirs.endswith("num_batches_tracked")  # those of before 2018 are without
    }


def _vgg_name(name: str) -> str:
    layer, _, part = name.rpartition(".")
    return f"{_VGG_LINEAR.get(layer, layer)}.{part}"


def _mobile_names(wanted: list[str], v3: bool) -> dict[str, str]:
    """torchvision's name of each tensor: it counts all blocks in one row, and the layers in a block by number."""
    places = list(dict.fromkeys(tuple(name.split(".")[1:3]) for name in wanted if name.startswith("blocks.")))
    members = {place: [n.split(".", 3)[3] for n in wanted if n.split(".")[:3] == ["blocks", *place]] for place in places}
    last = len(places) + (0 if v3 else 1)
    ends = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    if v3:
        ends |= {"conv_head": "classifier.0", "classifier": "classifier.3"}
    else:
        ends |= {"conv_head": f"features.{last}.0", "bn2": f"features.{last}.1", "classifier": "classifier.1"}
    found = {}
    for name in wanted:
        parts = name.split(".")
        if parts[0] != "blocks":
            found[name] = f"{ends.get(parts[0], parts[0])}.{parts[-1]}"
            continue
        place = (parts[1], parts[2])
        layer = ".".join(parts[3:-1])
        inside = _mobile_layers(members[place], v3)
        found[name] = f"features.{places.index(place) + 1}.{inside.get(layer, layer)}.{parts[-1]}"
    return found


def _mobile_layers(members: list[str], v3: bool) -> dict[str, str]:
    """torchvision's name of each layer in a block that has the tensors `members`."""
    layers = {member.rpartition(".")[0] for member in members}
    if "conv" in layers:  # the convolution at the end of V3
        return {"conv": "0", "bn1": "1"}
    expands = "conv_pwl" in layers
    convolutions = (
        [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")] if expands else [("conv_dw", "bn1"), ("conv_pw", "bn2")]
    )
    squeezes = "se.conv_reduce" in layers
    found: dict[str, str] = {}
    for place, (convolution, norm) in enumerate(convolutions):
        final = place == len(convolutions) - 1
        if v3:
            number = place + (squeezes and final)
            found |= {convolution: f"block.{number}.0", norm: f"block.{number}.1"}
        elif final:
            found |= {convolution: f"conv.{place}", norm: f"conv.{place + 1}"}
        else:
            found |= {convolution: f"conv.{place}.0", norm: f"conv.{place}.1"}
    if squeezes:
        number = len(convolutions) - 1
        found |= {"se.conv_reduce": f"block.{number}.fc1", "se.conv_expand": f"block.{number}.fc2"}
    return found
