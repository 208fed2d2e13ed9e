"""Every attack stays within its ball, counts what float32 confirms, and does what its paper says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from topwork.attack.attacked import Attack
from topwork.attack.auto import APGD, Ensemble
from topwork.attack.gradient import FGSM, PGD, Iterative, Momentum
from topwork.attack.losses import Aim, CrossEntropy, Loss
from topwork.attack.minimal import DDN, FMN, DeepFool
from topwork.attack.norms import distances, project, random_change, sizes
from topwork.attack.square import Square
from topwork.attack.victim import Network, network
from topwork.attack.which import attack_of
from topwork.errors import InputError

from .toys import CLASSES, Plane, toy

ALL: list[Attack] = [
    FGSM(),
    FGSM("l2"),
    FGSM(random_start=True),
    Iterative(),
    Iterative("l2", stop=False),
    Momentum(),
    Momentum("l2"),
    PGD(),
    PGD("l2", restarts=2),
    PGD(stop=False),
    APGD(steps=25),
    APGD("l2", steps=25),
    APGD(loss="dlr-targeted", steps=25),
    Square(150),
    DeepFool(),
    DeepFool("linf"),
    DDN(60),
    FMN(steps=60),
    FMN("linf", steps=60),
    Ensemble(steps=20, square_queries=50),
    Ensemble("l2", steps=20),
]
EPSILONS = {"linf": [0.002, 0.02, 0.3], "l2": [0.02, 0.3, 5.0]}
TARGETED = [one for one in ALL if not isinstance(one, (DeepFool, FGSM))]


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_an_attack_keeps_its_promises(attack: Attack) -> None:
    victim, images, labels = toy()
    before = images.clone()
    found = attack(victim, images, labels, EPSILONS[attack.norm])
    assert torch.equal(images, before)
    assert found.success.shape == found.distances.shape == found.queries.shape == (3, 12)
    for place, epsilon in enumerate(found.epsilons):
        done = found.success[place]
        fooled = victim.exact(found.images[place]).argmax(1) != labels
        assert fooled[done].all()
        assert (distances(found.images[place], images, attack.norm)[done] <= epsilon * (1 + 1e-5) + 1e-6).all()
        assert found.images[place].min() >= 0 and found.images[place].max() <= 1
    assert (found.success[1:] | ~found.success[:-1]).all()  # no picture is safe again at a larger epsilon
    assert found.success[2].float().mean() > (0.6 if attack.norm == "linf" and isinstance(attack, Square) else 0.9)
    assert found.left.tolist() == pytest.approx((1 - found.success.float().mean(1)).tolist())
    again = attack(victim, images, labels, EPSILONS[attack.norm])
    assert all(torch.equal(one, other) for one, other in zip(found.images, again.images, strict=True))
    assert eval(repr(attack)) == attack  # noqa: S307 - repr is the constructor call


@pytest.mark.parametrize("attack", TARGETED, ids=repr)
def test_an_attack_reaches_its_target(attack: Attack) -> None:
    victim, images, labels = toy()
    targets = (labels + 1) % CLASSES
    found = attack(victim, images, labels, EPSILONS[attack.norm][2:], targets)
    done = found.success[0]
    assert (victim.exact(found.images[0]).argmax(1) == targets)[done].all()
    assert done.float().mean() > (0.2 if isinstance(attack, Square) else 0.7)


def gradient_of(victim: Network, images: Tensor, labels: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(victim.module(leaf), labels, reduction="sum").backward()
    assert leaf.grad is not None
    return leaf.grad


def test_one_step_is_the_sign_of_the_gradient() -> None:
    victim, images, labels = toy()
    epsilon = 1e-4  # nothing is fooled, so all of the step is seen
    found = FGSM()(victim, images, labels, [epsilon])
    wanted = images + epsilon * gradient_of(victim, images, labels).sign()
    assert not found.success.any() and torch.allclose(found.images[0], wanted.clamp(0, 1), atol=1e-7)
    found = FGSM("l2")(victim, images, labels, [epsilon])
    gradient = gradient_of(victim, images, labels)
    wanted = images + epsilon * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    assert torch.allclose(found.images[0], wanted.clamp(0, 1), atol=1e-7)


def test_many_steps_and_momentum_are_their_formulas() -> None:
    victim, images, labels = toy()
    epsilon = 3e-4
    plain, memory, pushed = images.clone(), torch.zeros_like(images), images.clone()
    for _ in range(5):
        plain = plain + 0.25 * epsilon * gradient_of(victim, plain, labels).sign()
        plain = torch.min(torch.max(plain, images - epsilon), images + epsilon).clamp(0, 1)
        gradient = gradient_of(victim, pushed, labels)
        memory = 0.9 * memory + gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
        pushed = pushed + 0.2 * epsilon * memory.sign()
        pushed = torch.min(torch.max(pushed, images - epsilon), images + epsilon).clamp(0, 1)
    found = Iterative(steps=5, step=0.25)(victim, images, labels, [epsilon])
    assert not found.success.any() and torch.allclose(found.images[0], plain, atol=1e-6)
    found = Momentum(steps=5, step=0.2, decay=0.9)(victim, images, labels, [epsilon])
    assert not found.success.any() and torch.allclose(found.images[0], pushed, atol=1e-6)


@pytest.mark.parametrize("attack", [DeepFool(), DDN(), FMN(), DeepFool("linf"), FMN("linf")], ids=repr)
def test_the_smallest_change_to_a_plane_is_the_distance_to_it(attack: Attack) -> None:
    module = Plane()
    victim = network(module, 2)
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    labels = victim.exact(images).argmax(1)
    height = ((images - 0.5).flatten(1) @ module.way).abs()
    wanted = height / (module.way.norm() if attack.norm == "l2" else module.way.abs().sum())
    found = attack(victim, images, labels, [10.0])
    assert found.success.all()
    assert (found.distances[0] >= wanted * 0.999).all()
    assert (found.distances[0] <= wanted * 1.03).all()


def test_stronger_attacks_leave_no_more() -> None:
    left = {}
    for attack in (FGSM(), Iterative(), PGD(), APGD(), APGD(loss="dlr-targeted"), Ensemble(steps=40, square_queries=50)):
        victim, images, labels = toy(seed=2)
        left[repr(attack)] = float(attack(victim, images, labels, [0.004]).left[0])
    values = list(left.values())
    assert values[0] >= values[2] - 1e-6 and values[2] >= values[3] - 0.1
    assert values[-1] <= min(values)
    assert values[-1] < values[0]


def test_two_classes_have_a_ratio_too() -> None:
    victim, images, labels = toy(classes=2)
    assert APGD(loss="dlr-targeted", steps=25)(victim, images, labels, [0.3]).success.float().mean() > 0.9


def test_square_asks_for_no_gradient() -> None:
    victim, images, labels = toy()

    def refuse(_: Tensor, __: Loss) -> tuple[Tensor, Tensor]:
        raise AssertionError("a black box gives no gradient")

    closed = Network(victim.module, refuse, victim.fast_logits, victim.classes)
    found = Square(100)(closed, images, labels, [0.3])
    assert found.success.any() and not found.gradients.any()
    assert int(found.queries.max()) <= 100


def test_only_float32_says_who_is_fooled() -> None:
    victim, images, labels = toy()
    liar = Network(
        victim.module,
        lambda x, loss: (10 - victim.gradient(x, loss)[0], victim.gradient(x, loss)[1]),
        lambda x: 10 - victim.logits(x),
        CLASSES,
    )
    for attack in (PGD(), PGD(stop=False), APGD(steps=5), FMN(steps=5), Square(5)):
        found = attack(liar, images, labels, [1e-4 if attack.norm == "linf" else 1e-3])
        fooled = victim.exact(found.images[0]).argmax(1) != labels
        assert (fooled | ~found.success[0]).all()


def test_work_stops_when_a_picture_is_done() -> None:
    victim, images, labels = toy()
    found = PGD()(victim, images, labels, [0.3, 0.4])
    assert found.success.all()
    assert int(found.gradients[0].max()) < 40 and not found.gradients[1].any()


def test_a_random_start_lies_in_the_ball_and_an_endless_ball_is_no_bound() -> None:
    images, generator = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0)
    reach = torch.linspace(0.1, 1, 50)
    for norm in ("linf", "l2"):
        size = sizes(random_change(images, reach, norm, generator), norm)
        assert (size <= reach * 1.0001).all() and (size > 0.3 * reach).all()
    assert torch.equal(project(images, torch.zeros_like(images), torch.full((50,), torch.inf), "l2"), images)


def test_a_norm_that_an_attack_does_not_know_is_told() -> None:
    with pytest.raises(InputError, match="measures changes in l2"):
        attack_of("ddn", "linf")
    assert attack_of("ddn", "l2") == DDN(100)
    with pytest.raises(InputError, match="takes no target"):
        DeepFool()(*toy()[:2], toy()[2], [1.0], toy()[2])
    with pytest.raises(ValueError, match="one epsilon or more"):
        FGSM()(*toy()[:2], toy()[2], [])


@pytest.mark.parametrize("attack", [FMN("linf"), DDN(), DeepFool()], ids=repr)
def test_what_a_minimal_attack_hands_back_is_within_epsilon(attack: Attack) -> None:
    victim, images, labels = toy()
    far = attack(victim, images, labels, [1e9]).distances[0]
    epsilons = [float(far.min()) / 2, float(far.median()), 1e9]
    found = attack(victim, images, labels, epsilons)
    for place, epsilon in enumerate(epsilons):
        assert (found.distances[place] <= epsilon + 1e-5).all()
        assert torch.equal(found.success[place], far <= epsilon + 1e-6)
    assert not found.success[0].any() and (found.distances[0] > epsilons[0] * 0.9).all()


def test_squares_lie_within_each_photo() -> None:
    victim, images, labels = toy()
    small = images.shape[2] // 2

    class Padded(Network):
        def allowed(self, change: torch.Tensor) -> torch.Tensor:
            kept = change.clone()
            kept[0, :, small:], kept[0, :, :, small:] = 0, 0
            return kept

        def at(self, rows: torch.Tensor) -> Network:
            return self

    seen: list[torch.Tensor] = []

    def logits(points: torch.Tensor) -> torch.Tensor:
        seen.append(points.clone())
        return torch.nn.functional.one_hot(labels[: len(points)], victim.classes).float()

    padded = Padded(victim.module, victim.loss_gradient, logits, victim.classes)
    Square(queries=40)(padded, images[:2], labels[:2], [0.2])
    changes = [(one[0] - images[0]).abs().amax(0) for one in seen[1:]]
    assert all(float(one[small:].max()) == float(one[:, small:].max()) == 0 for one in changes)
    assert len({one[0].numpy().tobytes() for one in seen}) > 20


def test_the_loss_rises() -> None:
    victim, images, labels = toy()
    loss = CrossEntropy(Aim(labels))
    found = PGD(stop=False, random_start=False)(victim, images, labels, [0.002])
    assert (loss.values(victim.exact(found.images[0])) > loss.values(victim.exact(images))).all()
