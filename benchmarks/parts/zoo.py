"""Networks of both zoos, pixels to features: topwork's engine beside torch eager float32 and Keras-TensorFlow's own predict."""

from __future__ import annotations

from contest import Contender, Race, Run, race
from photos import count, read_all, subset
from results import Part
from settings import Settings, train_folder

_MATCHES = (
    # topwork's name, the peer's script and network, pictures a class, target
    ("vgg16", "torch_forward.py", "vgg16", 32, 8.0),
    ("resnet50", "torch_forward.py", "resnet50", 64, 8.0),
    ("keras:VGG16", "keras_forward.py", "VGG16", 32, 5.0),
    ("keras:ResNet50", "keras_forward.py", "ResNet50", 64, 6.0),
    ("keras:MobileNetV2", "keras_forward.py", "MobileNetV2", 128, 4.0),
)

_PEERS = {"torch_forward.py": "torch eager f32", "keras_forward.py": "Keras-TensorFlow predict"}


def measure(settings: Settings) -> Part:
    """Pictures per second of the forward pass alone."""
    part = Part("zoo", "Networks of both zoos, pixels to features")
    for own, script, network, per_class, target in _MATCHES:
        folder = subset(train_folder(settings), settings.new("photos-zoo"), 16 if settings.quick else per_class)
        read_all(folder)
        names = f"topwork {own}", f"{_PEERS[script]} {network}"
        contenders = [
            Contender(names[0], settings.own("topwork_forward.py", folder, "--network", own)),
            Contender(names[1], settings.peer(script, folder, "--network", network)),
        ]
        _tell(part, race(contenders, settings.repeats), names, count(folder), target)
    part.notes.append(
        "Random weights on both sides. Decoding, imports, making the network and the engine are left out. topwork's pass gives "
        "stages, last features and answers, its peers' the answers."
    )
    return part


def _tell(part: Part, done: Race, names: tuple[str, str], images: int, target: float) -> None:
    part.failures |= done.failures
    for name in names:
        engine = next((str(run.answer["engine"]) for run in done.runs[name] if "engine" in run.answer), "")
        note = f"{images} pictures{', ' + engine if engine else ''}"
        part.add(name, "rate of the pass", "img/s", done.values(name, _rate), note)
    own, peer = (done.values(name, _rate) for name in names)
    part.ratio(f"{names[0]} / {names[1]}", own, peer, target, needs_bf16=True)


def _rate(run: Run) -> float:
    return float(run.answer["images_per_second"])
