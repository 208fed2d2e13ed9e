"""The networks of keras.applications: preprocessing, size, and where Keras keeps their weights. Imports nothing of Keras.

Keras builds these networks in code and states neither size nor preprocessing as data, so both stand here; tests compare every
row with what Keras itself does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topwork.pictures.decode import Geometry

BUCKET = "https://storage.googleapis.com/"
"""Where Keras keeps the weights of its applications."""

Mode = Literal["caffe", "tf", "torch", "none"]


@dataclass(frozen=True)
class Normalisation:
    """What brings images in [0, 1] to what a network was trained on."""

    mean: tuple[float, float, float]
    """Of R, G, B in [0, 1]."""
    std: tuple[float, float, float]
    channels: Literal["RGB", "BGR"] = "RGB"


_BYTE = (1 / 255, 1 / 255, 1 / 255)

MODES: dict[Mode, Normalisation] = {
    "caffe": Normalisation((123.68 / 255, 116.779 / 255, 103.939 / 255), _BYTE, "BGR"),  # 0 to 255, minus the mean
    "tf": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # -1 to 1
    "torch": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Normalisation((0.0, 0.0, 0.0), _BYTE),  # 0 to 255: the network scales itself
}


@dataclass(frozen=True)
class Application:
    """One network of keras.applications."""

    name: str
    """Its function: ResNet50."""
    family: str
    """Its module in keras.applications."""
    mode: Mode
    size: int
    path: str
    """Of the weights in Keras's bucket, with the classifier."""
    digest: str
    """Of the file's bytes as Keras states it: MD5 or SHA-256; empty where Keras states none."""
    licence: str
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"
    padding: int = 0
    """Pixels of margin that the evaluation of the paper cuts off; 0: an eighth of the side."""
    channels_last: bool = False
    """Its layers work on the last axis; the others run faster with channels first."""

    @property
    def geometry(self) -> Geometry:
        """How a picture is brought to the network's size."""
        crop = self.size / (self.size + self.padding) if self.padding else 0.875
        return Geometry(self.size, crop, self.interpolation)

    @property
    def address(self) -> str:
        """Where Keras keeps the weights."""
        return f"{BUCKET}{self.path}"

    @property
    def file(self) -> str:
        """The name of the weight file."""
        return self.path.rpartition("/")[2]


_KERNELS = "weights_tf_dim_ordering_tf_kernels"
_HERE = "tensorflow/keras-applications"


def _kernels(name: str, family: str, mode: Mode, digest: str, licence: str, size: int = 224, folder: str = "") -> Application:
    folder = folder or family
    file = {"InceptionResNetV2": "inception_resnet_v2", "InceptionV3": "inception_v3"}.get(name, name.lower())
    path = f"{_HERE}/{folder}/{file}_{_KERNELS}.h5"
    return Application(name, family, mode, size, path, digest, licence)


def _convnext(name: str, digest: str) -> Application:
    path = f"{_HERE}/convnext/convnext_{name.lower()}.h5"
    return Application(f"ConvNeXt{name}", "convnext", "none", 224, path, digest, "mit", "bicubic", channels_last=True)


def _efficientnet(number: int, size: int, digest: str) -> Application:
    path = f"keras-applications/efficientnetb{number}.h5"
    return Application(f"EfficientNetB{number}", "efficientnet", "none", size, path, digest, "apache-2.0", "bicubic", 32)


def _efficientnet_v2(name: str, size: int, digest: str) -> Application:
    path = f"{_HERE}/efficientnet_v2/efficientnetv2-{name.lower()}.h5"
    return Application(f"EfficientNetV2{name}", "efficientnet_v2", "none", size, path, digest, "apache-2.0", "bicubic", 32)


def _other(name: str, family: str, mode: Mode, size: int, path: str, digest: str) -> Application:
    return Application(name, family, mode, size, f"{_HERE}/{path}", digest, "apache-2.0")


_ALL = (
    _convnext("Tiny", "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff"),
    _convnext("Small", "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c"),
    _convnext("Base", "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6"),
    _convnext("Large", "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6"),
    _convnext("XLarge", "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee"),
    _kernels("DenseNet121", "densenet", "torch", "9d60b8095a5708f2dcce2bca79d332c7", "bsd-3-clause"),
    _kernels("DenseNet169", "densenet", "torch", "d699b8f76981ab1b30698df4c175e90b", "bsd-3-clause"),
    _kernels("DenseNet201", "densenet", "torch", "1ceb130c1ea1b78c3bf6114dbdfd8807", "bsd-3-clause"),
    _efficientnet(0, 224, "902e53a9f72be733fc0bcb005b3ebbac"),
    _efficientnet(1, 240, "1d254153d4ab51201f1646940f018540"),
    _efficientnet(2, 260, "b15cce36ff4dcbd00b6dd88e7857a6ad"),
    _efficientnet(3, 300, "ffd1fdc53d0ce67064dc6a9c7960ede0"),
    _efficientnet(4, 380, "18c95ad55216b8f92d7e70b3a046e2fc"),
    _efficientnet(5, 456, "ace28f2a6363774853a83a0b21b9421a"),
    _efficientnet(6, 528, "165f6e37dce68623721b423839de8be5"),
    _efficientnet(7, 600, "8c03f828fec3ef71311cd463b6759d99"),
    _efficientnet_v2("B0", 224, "21ecbf6da12460d5c40bb2f29ceb2188"),
    _efficientnet_v2("B1", 240, "069f0534ff22adf035c89e2d9547a9dc"),
    _efficientnet_v2("B2", 260, "424e49f28180edbde1e94797771950a7"),
    _efficientnet_v2("B3", 300, "1f1fc43bd98a6e4fd8fdfd551e02c7a0"),
    _efficientnet_v2("S", 384, "e1d88a8495beba45748fedd0cecbe016"),
    _efficientnet_v2("M", 480, "a3bf6aa3276309f4fc6a34aa114c95cd"),
    _efficientnet_v2("L", 480, "27e6d408b53c7ebc868fefa357689935"),
    _kernels("InceptionResNetV2", "inception_resnet_v2", "tf", "e693bd0210a403b3192acc6073ad2e96", "apache-2.0", 299),
    _kernels("InceptionV3", "inception_v3", "tf", "9a0d58056eeedaa3f26cb7ebd46da564", "apache-2.0", 299),
    _other("MobileNet", "mobilenet", "tf", 224, "mobilenet/mobilenet_1_0_224_tf.h5", ""),
    _other("MobileNetV2", "mobilenet_v2", "tf", 224, f"mobilenet_v2/mobilenet_v2_{_KERNELS}_1.0_224.h5", ""),
    _other(
        "MobileNetV3Large",
        "mobilenet_v3",
        "none",
        224,
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float.h5",
        "59e551e166be033d707958cf9e29a6a7",
    ),
    _other(
        "MobileNetV3Small",
        "mobilenet_v3",
        "none",
        224,
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float.h5",
        "8768d4c2e7dee89b9d02b2d03d65d862",
    ),
    _other("NASNetLarge", "nasnet", "tf", 331, "nasnet/NASNet-large.h5", "11577c9a518f0070763c2b964a382f17"),
    _other("NASNetMobile", "nasnet", "tf", 224, "nasnet/NASNet-mobile.h5", "020fb642bf7360b370c678b08e0adf61"),
    _kernels("ResNet50", "resnet", "caffe", "2cb95161c43110f7111970584f804107", "mit"),
    _kernels("ResNet101", "resnet", "caffe", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "mit"),
    _kernels("ResNet152", "resnet", "caffe", "100835be76be38e30d865e96f2aaae62", "mit"),
    _kernels("ResNet50V2", "resnet_v2", "tf", "3ef43a0b657b3be2300d5770ece849e0", "apache-2.0", folder="resnet"),
    _kernels("ResNet101V2", "resnet_v2", "tf", "6343647c601c52e1368623803854d971", "apache-2.0", folder="resnet"),
    _kernels("ResNet152V2", "resnet_v2", "tf", "a49b44d1979771252814e80f8ec446f9", "apache-2.0", folder="resnet"),
    _kernels("VGG16", "vgg16", "caffe", "64373286793e3c8b2b4e3219cbf3544b", "cc-by-4.0"),
    _kernels("VGG19", "vgg19", "caffe", "cbe5617147190e668d6c5d5026f83318", "cc-by-4.0"),
    _kernels("Xception", "xception", "tf", "0a58e3b7378bc2990ea3b43d5981f1f6", "apache-2.0", 299),
)

APPLICATIONS = {one.name: one for one in _ALL}
