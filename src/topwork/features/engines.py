"""What runs a backbone: torch, OpenVINO or ONNX Runtime, all fed uint8 pixels and all giving the same numbers.

An engine runs one fixed batch shape, so that a picture's features do not depend on its neighbours. On processors the batch
is one picture and every core has one on the way: no padding, no waiting, and as fast as large batches.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from topwork.errors import MissingExtra, WeightsError
from topwork.pictures.decode import Pixels
from topwork.runtime import cores

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

Float32 = NDArray[np.float32]

ENGINES = ("auto", "torch", "openvino", "onnxruntime")

_first_call = threading.Lock()


class Engine(Protocol):
    """Runs a backbone. `infer` may be called from `lanes` threads at once."""

    name: str
    precision: str
    """f32, bf16, or f16."""
    batch: int
    """Pictures of one call at most; fewer are padded."""
    lanes: int

    def infer(self, pixels: Pixels) -> Float32:
        """Features (n, D) of pixels (n, H, W, 3), n <= batch."""
        ...


class OpenVinoEngine:
    """A compiled OpenVINO model: one stream of one thread per core, one inference request per lane."""

    name = "openvino"
    _begun = False

    def __init__(self, model: Any, precision: str = "f32", batch: int = 1) -> None:
        self.precision = precision
        self.batch = batch
        # Two calls per stream: while one computes, the next one's pixels are ready.
        self.lanes = 2 * cores()
        if isinstance(model, Path):
            model = _core().read_model(model)
        shape = model.inputs[0].partial_shape
        if shape.is_dynamic or shape[0].get_length() != batch:
            model.reshape([batch, *[side.get_length() for side in list(shape)[1:]]])
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": str(cores()),
            "INFERENCE_NUM_THREADS": str(cores()),
        }
        self._compiled = _core().compile_model(model, "CPU", settings)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.lanes):
            self._requests.put(self._compiled.create_infer_request())

    def infer(self, pixels: Pixels) -> Float32:
        """Features (n, D) of pixels (n, H, W, 3), n <= batch."""
        if not OpenVinoEngine._begun:
            # openvino builds tables in its first call; two threads in there at once can wait for each other for ever.
            with _first_call:
                features = self._infer(pixels)
                OpenVinoEngine._begun = True
                return features
        return self._infer(pixels)

    def _infer(self, pixels: Pixels) -> Float32:
        request = self._requests.get()
        try:
            request.infer([_padded(pixels, self.batch)], share_inputs=True)
            return np.array(request.get_output_tensor(0).data[: len(pixels)], np.float32)
        finally:
            self._requests.put(request)


class OnnxRuntimeEngine:
    """An ONNX Runtime session, run from one thread per lane."""

    name = "onnxruntime"
    precision = "f32"
    batch = 1

    def __init__(self, model: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("onnxruntime", "export", "The engine onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.lanes = cores()
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def infer(self, pixels: Pixels) -> Float32:
        """Features (n, D) of pixels (n, H, W, 3), n <= batch."""
        return np.asarray(self._session.run(None, {self._input: _padded(pixels, 1)})[0][: len(pixels)], np.float32)


class TorchEngine:
    """torch itself: float32 on a processor; autocast and channels_last on CUDA."""

    name = "torch"

    def __init__(self, backbone: Backbone, device: str = "cpu", batch: int | None = None) -> None:
        import torch

        from topwork.zoo.backbone import FromBytes

        self._torch = torch
        self._device = torch.device(device)
        on_gpu = self._device.type == "cuda"
        self.precision = "f16" if on_gpu else "f32"
        self.batch = batch or (64 if on_gpu else 8)
        self.lanes = 1
        self._graph = FromBytes(backbone).to(self._device)
        if on_gpu:
            self._graph = self._graph.to(memory_format=torch.channels_last)
        self._lock = threading.Lock()

    def infer(self, pixels: Pixels) -> Float32:
        """Features (n, D) of pixels (n, H, W, 3), n <= batch."""
        torch = self._torch
        autocast = torch.autocast("cuda") if self._device.type == "cuda" else contextlib.nullcontext()
        with self._lock, torch.inference_mode(), autocast:
            batch = torch.from_numpy(_padded(pixels, self.batch)).to(self._device)
            return np.array(self._graph(batch)[: len(pixels)].float().cpu().numpy())


def _padded(pixels: Pixels, batch: int) -> Pixels:
    if len(pixels) > batch:
        raise ValueError(f"expected at most {batch} pictures, got {len(pixels)}")
    if len(pixels) < batch:
        pixels = np.concatenate([pixels, np.zeros((batch - len(pixels), *pixels.shape[1:]), np.uint8)])
    return np.require(pixels, np.uint8, ["C", "W"])


def openvino() -> Any:
    """The openvino package without its converter, which nothing but `convert_openvino` needs and which takes long to import."""
    if "openvino" not in sys.modules:
        with _hidden("openvino.tools.ovc"):
            import openvino
    import openvino

    return openvino


def _converter() -> tuple[Any, list[Any]]:
    """openvino's convert_model, imported with its telemetry left out: nothing here talks to a network; and what it must learn.

    Keras calls two operations of torch by their longer names, which openvino does not know.
    """
    ov = openvino()
    with _hidden("openvino_telemetry"):  # openvino then uses its own silent stand-in
        from openvino.frontend.pytorch import ConversionExtension
        from openvino.tools.ovc import convert_model

    def subtract(node: Any) -> Any:
        return ov.opset13.subtract(node.get_input(0), node.get_input(1)).outputs()

    def divide(node: Any) -> Any:
        return ov.opset13.divide(node.get_input(0), node.get_input(1)).outputs()

    return convert_model, [ConversionExtension("aten::subtract", subtract), ConversionExtension("aten::divide", divide)]


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Importing `module` fails inside, as if it were not installed; its importers are made for that."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


_core_made: Any = None


def _core() -> Any:
    global _core_made
    if _core_made is None:
        _core_made = openvino().Core()
    return _core_made


def openvino_precisions() -> list[str]:
    """The precisions this processor computes natively: f32, and bf16 where it has the instructions."""
    return ["f32", "bf16"] if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ["f32"]


def convert_openvino(backbone: Backbone, file: Path) -> None:
    """Write the backbone as an OpenVINO model: `file` (.xml) and its weights beside it (.bin), float32."""
    import torch

    ov = openvino()
    size = backbone.spec.geometry.size
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    try:
        convert, extensions = _converter()
        with _traced(backbone, example) as traced:
            model = convert(traced, example_input=example, input=[1, size, size, 3], extension=extensions)
        ov.save_model(model, file, compress_to_fp16=False)
    except Exception as error:
        raise WeightsError(f"{backbone.spec.id}: OpenVINO cannot convert this network: {str(error)[:200]}") from error


def export_onnx(backbone: Backbone, file: Path) -> None:
    """Write the backbone as an ONNX file for batches of one. Raises MissingExtra without the package onnx, or WeightsError."""
    import torch

    size = backbone.spec.geometry.size
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    try:
        with _traced(backbone, example) as traced, _long_names_in_onnx(), _mute():
            torch.onnx.export(traced, (example,), str(file), input_names=["pixels"], output_names=["features"], dynamo=False)
    except ImportError as error:
        raise MissingExtra("onnx", "export", "The engine onnxruntime") from error
    except Exception as error:
        raise WeightsError(f"{backbone.spec.id}: this network cannot be written as ONNX: {str(error)[:200]}") from error


@contextlib.contextmanager
def _long_names_in_onnx() -> Iterator[None]:
    """Keras calls operations of torch by their longer names, which torch's exporter does not know, see `_converter`."""
    from torch.onnx import symbolic_opset9
    from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

    names = {"subtract": symbolic_opset9.sub, "multiply": symbolic_opset9.mul, "divide": symbolic_opset9.div}
    for name, symbolic in names.items():
        register_custom_op_symbolic(f"aten::{name}", symbolic, 9)
    try:
        yield
    finally:
        for name in names:
            unregister_custom_op_symbolic(f"aten::{name}", 9)


@contextlib.contextmanager
def _mute() -> Iterator[None]:
    """Nothing reaches stdout, not from C++ either: where torch cannot export a network it prints all of its graph."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # a program without a stdout of its own has nothing to keep clean
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def _traced(backbone: Backbone, example: Any) -> Iterator[Any]:
    import torch

    from topwork.zoo.backbone import FromBytes

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of every fixed shape, and fixed shapes are what we want
        yield torch.jit.trace(FromBytes(backbone), example, check_trace=False)  # type: ignore[no-untyped-call]


def usable(name: str) -> bool:
    """Whether the engine's package is installed; nothing is imported."""
    from importlib.util import find_spec

    return find_spec(name) is not None and (name != "onnxruntime" or find_spec("onnx") is not None)


def measure(engine: Engine, pictures: list[Pixels], seconds: float = 0.4) -> float:
    """Pictures per second of an engine, all lanes busy, over the given pixels (H, W, 3), for about `seconds`."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    batch = np.stack([pictures[i % len(pictures)] for i in range(engine.batch)])
    engine.infer(batch)
    stop = time.perf_counter() + seconds

    def lane(_: int) -> int:
        done = 0
        while time.perf_counter() < stop or done == 0:
            engine.infer(batch)
            done += engine.batch
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(engine.lanes) as pool:
        done = sum(pool.map(lane, range(engine.lanes)))
    return done / (time.perf_counter() - start)


def cuda_available() -> bool:
    """Whether torch sees a CUDA device. Imports torch."""
    import torch

    return bool(torch.cuda.is_available())
