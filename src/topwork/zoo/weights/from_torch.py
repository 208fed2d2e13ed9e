"""The directory of a torch state dict: a zip archive of uncompressed records, one of them a pickle that names the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from topwork.zoo.weights.archive import list_entries, places
from topwork.zoo.weights.pickles import Described, Storage, describe
from topwork.zoo.weights.stored import ITEM_SIZES, TENSORS_ALONE, Bytes, Record, Refused, Stored, short

_PICKLE_LONGEST = 16 << 20
_WRAPPINGS = ("state_dict", "model", "model_state_dict")
"""Names under which training programs keep the tensors beside other things."""

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that torch before 1.6 wrote: a pickled number that stands for the format."""
_LEGACY_PROTOCOL = 1001

KERAS_ARCHIVE = (
    "it is a .keras archive, which can hold code. Where you trust it, save its weights alone: "
    "keras.saving.load_model(FILE).save_weights('NAME.weights.h5')"
)


def directory(data: Bytes) -> dict[str, Stored]:
    """What a torch zip file declares, in its own order. Raises Refused."""
    entries = list_entries(data)
    folder = _folder(entries)  # first: other kinds of archive are told as what they are, and not for how they are packed
    records = places(data, entries)
    main = records[f"{folder}data.pkl"]
    if main.size > _PICKLE_LONGEST:
        raise Refused(f"its pickle has {main.size} bytes, more than the {_PICKLE_LONGEST} that any network needs")
    order = records.get(f"{folder}byteorder")
    if order is not None and data.take(order.offset, min(order.size, 9), "its byte order") != b"little":
        raise Refused("its numbers are in the byte order of another kind of machine. Save it again as safetensors there")
    data.check(main, "its pickle")
    said, _ = describe(data.take(main.offset, main.size, "its pickle"))

    def record_of(storage: Storage) -> Record:
        record = records.get(f"{folder}data/{storage.key}")
        if record is None:
            raise Refused(f"the numbers {short(storage.key)} that its pickle names are not in it")
        return record

    return {name: _stored(name, tensor, record_of(tensor.storage)) for name, tensor in _state(said).items()}


def legacy_directory(data: Bytes) -> dict[str, Stored]:
    """What a file declares that torch before 1.6 wrote: pickles in a row, then the numbers. Raises Refused."""
    text = data.take(0, data.size, "the file")
    _, place = describe(text)  # the magic number
    protocol, place = describe(text, place)
    system, place = describe(text, place)
    said, place = describe(text, place)
    keys, place = describe(text, place)
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("it was written by another kind of machine, or an unknown torch")
    state = _state(said)
    sizes = {tensor.storage.key: tensor.storage.count * ITEM_SIZES[tensor.storage.dtype] for tensor in state.values()}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(sizes):
        raise Refused("the numbers it holds are not those that its pickle names")
    places = {}
    for key in keys:  # each: how many numbers, then the numbers
        places[key] = Record(place + 8, sizes[key], 0)
        place += 8 + sizes[key]
    return {name: _stored(name, tensor, places[tensor.storage.key], checked=False) for name, tensor in state.items()}


def _folder(entries: Collection[str]) -> str:
    """The one folder that torch puts everything in, with its slash."""
    names = {name.partition("/")[2]: name for name in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise Refused(f"it is a TorchScript program, which is code. {TENSORS_ALONE}")
    mains = [name for name in entries if name.partition("/")[2] == "data.pkl"]
    if len(mains) != 1:
        raise Refused(_other_archive(entries))
    return mains[0].removesuffix("data.pkl")


def _other_archive(entries: Collection[str]) -> str:
    if any(name.endswith("model.weights.h5") for name in entries):
        return KERAS_ARCHIVE
    if entries and all(name.endswith(".npy") for name in entries):
        return "it is an archive of numpy arrays. Save them with safetensors.numpy.save_file(dict(numpy.load(FILE)), NEW)"
    return "it is a zip archive, but none that torch wrote for a state dict"


def _state(said: Any) -> dict[str, Described]:
    """The dictionary of names and tensors in what a file says, out of the usual wrappings."""
    if not isinstance(said, dict):
        raise Refused(f"it holds a {type(said).__name__}, expected a dictionary of names and tensors")
    state = said
    if not any(isinstance(value, Described) for value in said.values()):
        state = next((said[name] for name in _WRAPPINGS if isinstance(said.get(name), dict)), said)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Described):
            raise Refused(f"it holds {short(str(name))} of the type {type(value).__name__}, expected names and tensors alone")
    return state


def _stored(name: str, tensor: Described, record: Record, checked: bool = True) -> Stored:
    item = ITEM_SIZES[tensor.storage.dtype]
    if record.size != tensor.storage.count * item:
        raise Refused(f"{short(name)} declares {tensor.storage.count * item} bytes where {record.size} are stored")
    offset = record.offset + tensor.offset * item
    stored = Stored(tensor.storage.dtype, tensor.shape, offset, tensor.strides, record if checked else None)
    if (tensor.offset + stored.extent) > tensor.storage.count:
        raise Refused(f"{short(name)} reaches beyond the {tensor.storage.count} numbers it is a view of")
    return stored
