"""The directory of Keras's weight files: `.weights.h5` of Keras 3, and the `.h5` of keras.applications and older Keras.

The first names tensors by their place in the network (`layers/conv2d_3/vars/0`); the second keeps two lists, of layers and of
each layer's tensors, and their order is what counts. A whole network saved as `.h5` has the second inside; of it only the
tensors are read, never the description of the network, which can hold code.
"""

from __future__ import annotations

from topwork.zoo.weights.hdf5 import Hdf5
from topwork.zoo.weights.stored import Bytes, Refused, Stored, short

Layers = tuple[tuple[str, tuple[str, ...]], ...]
"""(layer, its tensors' names), both in the file's order."""

_WHOLE = "model_weights"
_FOREMOST = ("layers/", "_layer_checkpoint_dependencies/", "vars/")


def directory(data: Bytes) -> tuple[dict[str, Stored], Layers]:
    """(what a Keras file declares, its layers; none for `.weights.h5`). Raises Refused."""
    file = Hdf5(data)
    root = ""
    layers = file.texts(root, "layer_names")
    if layers is None and any(path.startswith(f"{_WHOLE}/") for path in file.datasets):
        root = _WHOLE
        layers = file.texts(root, "layer_names")
    if layers is None:
        # What an optimizer keeps is of no use here.
        found = {path: stored for path, stored in file.datasets.items() if not path.startswith("optimizer/")}
        if not any(path.startswith(_FOREMOST) for path in found):
            raise Refused("it is an HDF5 file, but its groups are not named as Keras names them")
        return found, ()
    tensors: dict[str, Stored] = {}
    listed = []
    if len(set(layers)) != len(layers):
        raise Refused("it lists a layer twice")
    for layer in layers:
        group = f"{root}/{layer}" if root else layer
        names = file.texts(group, "weight_names")
        if names is None:
            raise Refused(f"the layer {short(layer)} that it lists has no list of tensors")
        for name in names:
            stored = file.datasets.get(f"{group}/{name}")
            if stored is None or f"{layer}/{name}" in tensors:
                raise Refused(f"the tensor {short(name)} listed for the layer {short(layer)} is missing, or listed twice")
            tensors[f"{layer}/{name}"] = stored
        if names:
            listed.append((layer, tuple(f"{layer}/{name}" for name in names)))
    return tensors, tuple(listed)
