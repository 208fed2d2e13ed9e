"""Backbones from keras.applications: Keras 3 on torch with channels first, each with its own preprocessing.

That way needs no TensorFlow, keeps gradients, and converts to the fast engine: with channels last each convolution is wrapped
in two transpositions that no engine takes out.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topwork.errors import InputError, WeightsError
from topwork.runtime import cache_folder
from topwork.zoo.backbone import Backbone, multiply_adds, state_sha256
from topwork.zoo.catalogue import Network
from topwork.zoo.keras_network import KerasNetwork, even_out
from topwork.zoo.keras_table import APPLICATIONS, MODES, Application
from topwork.zoo.names import Told, offline, unknown, unreachable, weights_folder
from topwork.zoo.spec import BackboneSpec
from topwork.zoo.weights import open_weights
from topwork.zoo.weights.keras_names import fill_keras
from topwork.zoo.weights.matching import Wanted, fitted

_MARGINS = ("ZeroPadding2D", "Cropping2D")

_IMAGENET_STD = (0.229, 0.224, 0.225)


def build(
    name: str,
    backbone_id: str,
    weights: str | Path = "pretrained",
    weights_sha256: str | None = None,
    size: int | None = None,
) -> Backbone:
    """The network `name` of keras.applications as a backbone.

    weights: "pretrained" (Keras's own, from its bucket), "random" (seeded, for tests of speed), or a file: Keras's .h5 or
    .weights.h5, or a bundle's safetensors. Raises UnknownName, or WeightsError where the weights cannot be had or fitted.
    """
    found = _application(name)
    network = _in_fresh_session(lambda keras: _network(keras, found))
    side = found.geometry.size
    example = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    way = MODES[found.mode]
    if weights == "random":
        _randomise(network)
        even_out(network, (example - torch.tensor(way.mean).view(3, 1, 1)) / torch.tensor(way.std).view(3, 1, 1))
    else:
        _fit_state(network, fetch(name) if weights == "pretrained" else Path(weights), weights_sha256)
    stages, last, logits, count = _measured(network, example)
    spec = BackboneSpec(
        id=backbone_id,
        architecture=found.name,
        library="keras",
        geometry=found.geometry,
        mean=way.mean,
        std=way.std,
        stages=stages,
        dim=last.shape[1],
        answers=logits.shape[1],
        parameters=sum(one.numel() for one in network.parameters()),
        licence=found.licence,
        weights=f"file {weights.name}" if isinstance(weights, Path) else f"{weights} ({found.file})",
        weights_sha256=state_sha256(network.state_dict()),
        channels=way.channels,
        multiply_adds=count,
        classes=logits.shape[1],
        label_set="imagenet-1k",
    )
    return Backbone(network, spec, _pool(found.channels_last), _run)


def networks() -> list[Network]:
    """Every network of keras.applications."""
    return [Network(f"keras:{one.name}", one.family, one.size, one.licence, 1000) for one in APPLICATIONS.values()]


def on_disk(name: str) -> Path | None:
    """The file of the pretrained weights where it is on this machine: put there by hand, or fetched by Keras itself."""
    found = _application(name)
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    for file in (weights_folder("keras") / found.file, home / "models" / found.file):
        if file.is_file():
            _check(file, found)
            return file
    return None


def fetch(name: str, told: Told | None = None) -> Path:
    """The file of the pretrained weights, from Keras's bucket. Raises WeightsError."""
    there = on_disk(name)
    if there is not None:
        return there
    found = _application(name)
    place = weights_folder("keras") / found.file
    if offline():
        raise unreachable(f"keras:{name}", found.address, place, "nothing may be fetched (offline)")
    from topwork.download import download
    from topwork.errors import DownloadError

    sha256 = found.digest if len(found.digest) == 64 else None
    unchecked = place.with_name(f"{place.name}.unchecked") if found.digest and sha256 is None else place
    try:
        download(found.address, unchecked, sha256, told=told)
    except DownloadError as error:
        raise unreachable(f"keras:{name}", found.address, place, "there is no connection to fetch them") from error
    if unchecked != place:
        try:
            _check(unchecked, found)
        except WeightsError:
            unchecked.unlink()
            raise
        os.replace(unchecked, place)
    return place


def _application(name: str) -> Application:
    if name not in APPLICATIONS:
        raise unknown(f"keras:{name}")
    return APPLICATIONS[name]


def _check(file: Path, found: Application) -> None:
    """Raise WeightsError unless the file's bytes have the hash that Keras states, where it states one."""
    if not found.digest:
        return
    kind = "sha256" if len(found.digest) == 64 else "md5"
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    if digest != found.digest:
        raise WeightsError(
            f"{file}: not the weights that Keras publishes: expected {kind.upper()} {found.digest}, found {digest}. "
            f"Remove it, or give it as it is: --weights {file}"
        )


def _in_fresh_session(work: Callable[[Any], KerasNetwork]) -> KerasNetwork:
    """What `work(keras)` gives in a thread of its own.

    Keras counts layer names per thread: there they are those of a new session, whatever was built before, and a user's own
    session is not touched.
    """
    keras = _keras()
    results: list[KerasNetwork] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            with _settings(keras):
                results.append(work(keras))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _keras() -> Any:
    """Keras, on torch. Raises InputError where this process runs it on another backend already."""
    if "keras" not in sys.modules:
        home = cache_folder() / "keras"  # Keras writes its settings when it is imported, and reads those of the user
        changed = {"KERAS_BACKEND": "torch", "KERAS_HOME": os.environ.get("KERAS_HOME", str(home))}
        before = {key: os.environ.get(key) for key in changed}
        os.environ.update(changed)
        try:
            import keras
        finally:
            for key, value in before.items():
                os.environ.pop(key)
                if value is not None:
                    os.environ[key] = value
    import keras

    if keras.config.backend() != "torch":
        raise InputError(
            f"keras: backbones need Keras on torch; in this process it runs on {keras.config.backend()}. "
            "Set KERAS_BACKEND=torch before Keras is imported."
        )
    return keras


@contextlib.contextmanager
def _settings(keras: Any) -> Iterator[None]:
    """Keras's global settings as these networks need them, inside; as they were, afterwards."""
    order, kind, state = keras.config.image_data_format(), keras.config.floatx(), random.getstate()
    keras.config.set_floatx("float32")
    try:
        with keras.device("cpu"):
            yield
    finally:
        keras.config.set_image_data_format(order)
        keras.config.set_floatx(kind)
        random.setstate(state)  # Keras draws the seeds of its initialisers from it


def _network(keras: Any, found: Application) -> KerasNetwork:
    """The network with its graph cut before the classifier: its last layer that has weights."""
    make = getattr(keras.applications, found.name)
    last = found.channels_last or found.family == "densenet"  # whose code refuses the other order, though its layers do not
    keras.config.set_image_data_format("channels_last" if last else "channels_first")
    shape = (found.size, found.size, 3) if last else (3, found.size, found.size)
    whole = make(weights=None, input_shape=shape, classifier_activation=None)
    if last and not found.channels_last:
        whole = _turned(keras, whole, found.size)
    classifier = [layer for layer in whole.layers if layer.weights][-1]
    cut = classifier.input
    trunk, head = keras.Model(whole.inputs, cut), keras.Model(cut, whole.outputs)
    after = {}
    if found.family == "efficientnet":
        # Keras adds this step only where it loads its own weights: they were trained with variances that are deviations.
        step = next(layer.name for layer in trunk.layers if type(layer).__name__ == "Normalization")
        after[step] = torch.tensor([1 / math.sqrt(std) for std in _IMAGENET_STD]).view(1, 3, 1, 1)
    return KerasNetwork(whole, trunk, head, found.channels_last, after).eval()


def _turned(keras: Any, whole: Any, size: int) -> Any:
    """The same network with channels first."""

    def turn(layer: Any) -> Any:
        config = layer.get_config()
        if "data_format" in config:
            config["data_format"] = "channels_first"
        if "axis" in config:  # a number, or a list of one, of the axis of the channels
            config["axis"] = 1
        return type(layer).from_config(config)

    return keras.models.clone_model(whole, input_tensors=keras.Input((3, size, size)), clone_function=turn)


def _fit_state(network: KerasNetwork, path: Path, sha256: str | None) -> None:
    """Fill `network` from a weight file; the network decides names, shapes and types, the file decides nothing."""
    with open_weights(path, sha256) as file:
        if file.kind == "keras":
            fill_keras(network.whole, file)
            return
        state = network.state_dict()  # a bundle's own file
        wanted = {name: Wanted(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()}
        for name, values in fitted(file, wanted, network.whole.name):
            state[name].copy_(torch.from_numpy(values))


def _randomise(network: KerasNetwork) -> None:
    """Seeded kernels, so that the same network has the same weights in every process."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("kernel"):
            parameter.data.normal_(generator=generator)


def _run(network: KerasNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last features (n, D) and the logits of normalised images."""
    features = network.features(images)
    return features.flatten(1), network.classify(features)


def _pool(channels_last: bool) -> Callable[[Tensor], Tensor]:
    return lambda output: output.mean((1, 2)) if channels_last else output.mean((2, 3))


def _measured(network: KerasNetwork, example: Tensor) -> tuple[tuple[tuple[str, int], ...], Tensor, Tensor, int]:
    """The stages with their widths, the last features, the logits and the multiply-adds of one picture.

    A stage ends with the last layer that sees the picture at one size; a margin is none, nor a size of 1, nor 3 channels.
    """
    channel, row = (3, 1) if network.channels_last else (1, 2)
    ends: dict[int, tuple[str, int]] = {}

    def watch(name: str) -> Callable[..., None]:
        def seen(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[row] > 1 and output.shape[channel] > 3:
                ends[output.shape[row]] = name, output.shape[channel]

        return seen

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_children()
        if getattr(module, "kind", "") not in _MARGINS
    ]
    try:
        with torch.no_grad():
            (last, logits), count = multiply_adds(lambda images: _run(network, images), example)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(ends[side] for side in sorted(ends, reverse=True)), last, logits, count
