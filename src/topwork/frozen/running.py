"""A gradient that was written down as a graph, run by OpenVINO: one picture per core at a time. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.features.engines import openvino
from topwork.runtime import cores

Numbers = NDArray[np.float32]


class GradientGraph:
    """Logits of images and the gradient of an objective to them; see `topwork.frozen.gradient.FrozenGradient`."""

    def __init__(self, model: Any, precision: str) -> None:
        """model: a file, or an OpenVINO model, of (image (1, 3, H, W), linear (1, K), entropy (1, 1)) -> (logits, gradient)."""
        core = openvino().Core()
        self._core, self._model = core, core.read_model(model) if isinstance(model, Path) else model
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": str(cores()),
            "INFERENCE_NUM_THREADS": str(cores()),
        }
        self._both = core.compile_model(self._model, "CPU", self._settings)
        self._forward: Any = None
        self._requests: dict[bool, list[Any]] = {True: [], False: []}

    def __call__(self, images: Numbers, linear: Numbers, entropy: Numbers) -> tuple[Numbers, Numbers]:
        """(logits (N, K), gradient (N, 3, H, W)) of images (N, 3, H, W), linear (N, K) and entropy (N, 1)."""
        logits, gradient = np.empty(linear.shape, np.float32), np.empty(images.shape, np.float32)
        self._run(self._both, [images, linear, entropy], [logits, gradient])
        return logits, gradient

    def logits(self, images: Numbers) -> Numbers:
        """Logits (N, K) alone."""
        if self._forward is None:
            output, given = self._model.outputs[0], self._model.inputs[0].get_node()
            self._forward = self._core.compile_model(openvino().Model([output], [given], "forward"), "CPU", self._settings)
        logits = np.empty((len(images), self._model.outputs[0].shape[1]), np.float32)
        self._run(self._forward, [images], [logits])
        return logits

    def _run(self, compiled: Any, given: Sequence[Numbers], found: Sequence[Numbers]) -> None:
        """Fill `found` row by row; as many rows are under way as there are cores, and one more each."""
        requests = self._requests[compiled is self._both]
        count = len(found[0])
        while len(requests) < min(count, 2 * cores()):
            requests.append(compiled.create_infer_request())
        rows = [np.ascontiguousarray(one, np.float32) for one in given]
        for place in range(count + len(requests)):
            request = requests[place % len(requests)]
            done = place - len(requests)
            if 0 <= done < count:
                request.wait()
                for number, target in enumerate(found):
                    target[done] = request.get_output_tensor(number).data[0]
            if place < count:
                request.start_async([one[place : place + 1] for one in rows], share_inputs=True)
