"""The frozen gradient is autograd's, operation by operation and on whole networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from topwork.features.engines import openvino_precisions
from topwork.frozen import rules
from topwork.frozen.gradient import FrozenGradient, frozen_gradient
from topwork.frozen.making import NoRule
from topwork.frozen.tracing import forward_graph
from topwork.grafted import grafted
from topwork.pictures.decode import decode, read_bytes, to_pixels
from topwork.zoo import load_backbone


def pooled(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Squeezed(nn.Module):
    """Squeeze and excitation (Hu 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * nn.functional.hardsigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Attending(nn.Module):
    """Patches, one block of attention, the first token's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 24)
        self.join, self.out = nn.Linear(8, 8), nn.Linear(8, 5)  # as many in as out: an engine may confuse its two directions

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(tokens)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        tokens = tokens + self.join(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.out(nn.functional.gelu(tokens[:, 0]))


class Sliced(nn.Module):
    """A head that sees some of the features, after their square root."""

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)[:, 1:5]
        return features.sign() * features.abs().clamp_min(1e-8).sqrt()


class Voting(nn.Module):
    """The votes of the nearest three of ten, in three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.references = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(10, 4))
        self.register_buffer("member", nn.functional.one_hot(torch.arange(10) % 3, 3).float())

    def forward(self, x: Tensor) -> Tensor:
        near = self.maps(x).mean((2, 3)) @ self.references.T
        chosen = torch.zeros_like(near).scatter(1, near.detach().topk(3, dim=1).indices, 1.0)
        votes = torch.exp(near - near.amax(1, keepdim=True).detach()) * chosen
        return votes @ self.member


class Mirrored(nn.Module):
    """The picture and its mirror image, in one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.flip(3)], 1)


class Reversed(nn.Module):
    """Blue, green, red."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, [2, 1, 0]]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "strided convolution": lambda: pooled(nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh()),
    "dilated convolution": lambda: pooled(nn.Conv2d(3, 8, 3, 1, 2, dilation=2), nn.ReLU()),
    "as many channels in as out": lambda: pooled(
        nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 3)
    ),
    "strided depthwise": lambda: pooled(nn.Conv2d(3, 3, 5, 2, 2, groups=3), nn.Sigmoid(), nn.Conv2d(3, 5, 1)),
    "grouped": lambda: pooled(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, 2, 1, groups=2), nn.SiLU()),
    "uneven margin": lambda: pooled(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2), nn.ReLU6()),
    "batch norm": lambda: pooled(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.Conv2d(8, 4, 1)),
    "hard activations": lambda: pooled(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 4, 3), nn.Hardsigmoid()),
    "squeeze and excitation": lambda: pooled(nn.Conv2d(3, 8, 3, 2, 1), Squeezed()),
    "overlapping pool": lambda: pooled(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
    "pool": lambda: pooled(nn.Conv2d(3, 8, 3, 1, 1), nn.MaxPool2d(2, 2)),
    "pool that leaves a row over": lambda: pooled(nn.Conv2d(3, 8, 2), nn.MaxPool2d(2, 2)),
    "pool with a margin": lambda: pooled(nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 3, 1)),
    "pool of means": lambda: pooled(nn.Conv2d(3, 8, 3, 1, 1), nn.Tanh(), nn.AvgPool2d(2, 2)),
    "overlapping pool of means": lambda: pooled(nn.Conv2d(3, 8, 3, 1, 1), nn.Tanh(), nn.AvgPool2d(3, 2, 1)),
    "the nearest vote": lambda: Voting(),
    "two looks": lambda: pooled(Mirrored(), nn.Conv2d(6, 8, 3), nn.Tanh(), nn.Conv2d(8, 4, 3)),
    "other order of channels": lambda: pooled(Reversed(), nn.Conv2d(3, 8, 3), nn.ReLU()),
    "attention": Attending,
    "slices and roots": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Sliced()),
}


def randomised(network: nn.Module) -> nn.Module:
    """The network in eval mode with statistics that are not 0 and 1."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
    return network.eval()


def expected(network: nn.Module, images: Tensor, linear: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and gradient by autograd."""
    leaf = images.clone().requires_grad_(True)
    logits = network(leaf)
    ((linear * logits).sum(1) - entropy * logits.logsumexp(1)).sum().backward()
    assert leaf.grad is not None
    return logits.detach(), leaf.grad


def away(found: Tensor, wanted: Tensor) -> float:
    """The length of the difference as a share of the length."""
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_gradient_is_autograds(name: str, engine: str) -> None:
    torch.manual_seed(1)
    network = randomised(NETWORKS[name]())
    images = 2 * torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        classes = network(images).shape[1]
    linear, entropy = torch.randn(5, classes), torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0])
    frozen = frozen_gradient(network, 16, engine=engine, precision="f32", keep=False)
    logits, gradient = frozen(images, linear, entropy)
    wanted_logits, wanted = expected(network, images, linear, entropy)
    assert frozen.engine == engine
    assert away(logits, wanted_logits) < 1e-5
    assert away(gradient, wanted) < 1e-4
    assert away(frozen.logits(images), wanted_logits) < 1e-5
    kept = frozen_gradient(network, 16, engine=engine, precision="f32")  # constants that are alike are one in the file
    assert away(kept(images, linear, entropy)[1], wanted) < 1e-4


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, 2), nn.MaxPool2d(3, 2, 1)], ids=repr)
def test_places_that_share_a_maximum_share_its_gradient(pool: nn.Module) -> None:
    """On a plain picture all places of a window are alike: what comes back must add up to torch's."""
    torch.manual_seed(1)
    network = randomised(pooled(nn.Conv2d(3, 8, 3), nn.ReLU(), pool, nn.Conv2d(8, 4, 1)))
    images = torch.full((2, 3, 16, 16), 0.7)
    linear, entropy = torch.randn(2, 4), torch.zeros(2)
    _, gradient = frozen_gradient(network, 16, engine="openvino", precision="f32", keep=False)(images, linear, entropy)
    _, wanted = expected(network, images, linear, entropy)
    assert torch.allclose(gradient.sum((2, 3)), wanted.sum((2, 3)), rtol=1e-3, atol=1e-5)


class Turned(nn.Module):
    """A convolution whose kernel is kept in another order, as Keras keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 3, 3, 8))
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(nn.functional.conv2d(x, self.kernel.permute(3, 2, 0, 1))).mean((2, 3))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_kernel_in_another_order_is_folded_too(engine: str) -> None:
    network, images, linear = randomised(Turned()), torch.rand(2, 3, 16, 16), torch.randn(2, 8)
    frozen = frozen_gradient(network, 16, engine=engine, precision="f32", keep=False)
    logits, gradient = frozen(images, linear)
    wanted_logits, wanted = expected(network, images, linear, torch.zeros(2))
    assert away(logits, wanted_logits) < 1e-5 and away(gradient, wanted) < 1e-4
    folded = forward_graph(network, images)
    assert not any("norm" in str(node.target) or "permute" in str(node.target) for node in folded.graph.nodes)


def test_batch_norm_is_folded_away() -> None:
    folded = forward_graph(randomised(NETWORKS["batch norm"]()), torch.rand(1, 3, 16, 16))
    assert not any("norm" in str(node.target) for node in folded.graph.nodes)


def test_an_unknown_operation_falls_back_to_torch_and_says_so() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3), Cumulated()).eval()
    frozen = frozen_gradient(network, 16, keep=False)
    assert frozen.engine == "torch" and "cumsum" in frozen.reason
    images, linear = torch.randn(2, 3, 16, 16), torch.randn(2, 3)
    assert away(frozen(images, linear)[1], expected(network, images, linear, torch.zeros(2))[1]) < 1e-5
    with pytest.raises(NoRule, match="cumsum"):
        frozen_gradient(network, 16, engine="openvino", keep=False)


def test_an_engine_that_errs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that gives another number is seen when the graph is made."""
    network = pooled(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 4, 3))
    monkeypatch.setitem(rules._ONE, torch.ops.aten.tanh.default, "sigmoid")
    frozen = frozen_gradient(network.eval(), 16, precision="f32", keep=False)
    assert frozen.engine == "torch" and "not torch's" in frozen.reason


class Cumulated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1)


def test_a_kept_graph_is_used_again_and_a_damaged_one_is_not(own_cache: None, tmp_path: Path) -> None:
    network = randomised(NETWORKS["batch norm"]())
    images, linear = torch.rand(2, 3, 16, 16), torch.randn(2, 4)
    first = frozen_gradient(network, 16)(images, linear)[1]
    (file,) = (tmp_path / "cache" / "gradients").glob("*/graph.bin")
    made = file.stat().st_mtime_ns
    assert torch.equal(frozen_gradient(network, 16)(images, linear)[1], first)
    assert file.stat().st_mtime_ns == made
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert torch.equal(frozen_gradient(network, 16)(images, linear)[1], first)
    assert file.stat().st_mtime_ns != made


def photo_images(photos: Path, size: int, count: int) -> Tensor:
    files = sorted((photos / "imagenet-one-per-class").glob("*/*"))[:: 300 // count][:count]
    geometry = load_backbone().spec.geometry
    pixels = [to_pixels(decode(read_bytes(file)).image, geometry) for file in files]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1).float() / 255 for one in pixels])


def check_network(frozen: FrozenGradient, network: nn.Module, images: Tensor, most: float) -> None:
    with torch.no_grad():
        linear = nn.functional.one_hot(network(images).argmax(1), 1000).float()
    ones = torch.ones(len(images))
    logits, gradient = frozen(images, linear, ones)
    wanted_logits, wanted = expected(network, images, linear, ones)
    assert torch.allclose(logits, wanted_logits, atol=1e-3)
    assert away(gradient, wanted) < most


@pytest.mark.photos
def test_gradient_of_lite0_on_photos(photos: Path) -> None:
    network = grafted(load_backbone())
    frozen = frozen_gradient(network, 224, engine="openvino", precision="f32", keep=False)
    # Folding moves values by rounding; a few activations at the edge of the rectifier then change sides.
    check_network(frozen, network, photo_images(photos, 224, 4), 5e-3)


@pytest.mark.full
@pytest.mark.photos
@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "resnet50", "vgg16", "vit_small_patch16_224"])
def test_gradient_of_other_networks_on_photos(name: str, photos: Path) -> None:
    network = grafted(load_backbone(f"timm:{name}", "random"))
    frozen = frozen_gradient(network, 224, engine="openvino", precision="f32", keep=False)
    images = photo_images(photos, 224, 2)
    # Where a photo is plain, places share a maximum and each engine takes another of them: noise leaves one.
    images += 0.1 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    check_network(frozen, network, images, 1e-2)


class Far(nn.Module):
    """Differences of features that lie far from 0: a precision of three digits loses them."""

    def __init__(self, far: float) -> None:
        super().__init__()
        self.far, self.maps = far, nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = (self.maps(x) + self.far).mean((2, 3))
        return features - features.mean(1, keepdim=True)


@pytest.mark.skipif(openvino_precisions() == ["f32"], reason="this processor knows one precision only")
@pytest.mark.parametrize(("far", "precision"), [(0.0, "bf16"), (1e4, "f32")])
def test_a_low_precision_is_taken_only_where_it_keeps_the_logits_apart(far: float, precision: str) -> None:
    torch.manual_seed(0)
    network = Far(far).eval().requires_grad_(False)
    assert frozen_gradient(network, 16, keep=False).precision == precision
    assert frozen_gradient(network, 16, precision="bf16", keep=False).precision == "bf16"
