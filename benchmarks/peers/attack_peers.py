"""One attack by foolbox, torchattacks or ART on lite0 in eager torch, in batches, timed without imports."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from attack_common import BATCH, STEP, STEPS, given, pictures, run
from common import LITE0, timm_network
from torch import Tensor, nn

warnings.simplefilter("ignore")

One = Callable[[Tensor, Tensor, Tensor], Tensor]
"""images, labels, targets of a batch -> attacked images."""


class Seen(nn.Module):
    """The network with its normalisation inside. images in [0, 1] -> logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = timm_network(LITE0, classes=None).requires_grad_(False)
        self.mean, self.std = 0.5, 0.5

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def foolbox_attack(name: str, epsilon: float) -> One:
    """foolbox's form of an attack."""
    import foolbox as fb

    model = fb.PyTorchModel(Seen().eval(), bounds=(0, 1))
    attacks = {
        "fgsm": lambda: fb.attacks.LinfFastGradientAttack(),
        "pgd": lambda: fb.attacks.LinfPGD(rel_stepsize=STEP, steps=STEPS, random_start=True),
        "ddn": lambda: fb.attacks.DDNAttack(steps=STEPS),
        "fmn": lambda: fb.attacks.L2FMNAttack(steps=STEPS),
        "deepfool": lambda: fb.attacks.L2DeepFoolAttack(),
    }
    attack = attacks[name.removesuffix("-targeted")]()

    def one(images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        aim = fb.TargetedMisclassification(targets) if name.endswith("-targeted") else fb.Misclassification(labels)
        found: Tensor = attack(model, images, aim, epsilons=epsilon or None)[1]
        return found

    return one


def torchattacks_attack(name: str, epsilon: float) -> One:
    """torchattacks's form of an attack."""
    import torchattacks

    model = Seen().eval()
    if name == "fgsm":
        attack = torchattacks.FGSM(model, eps=epsilon)
    else:
        attack = torchattacks.PGD(model, eps=epsilon, alpha=STEP * epsilon, steps=STEPS, random_start=True)
    if name.endswith("-targeted"):
        attack.set_mode_targeted_by_label(quiet=True)

    def one(images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        found: Tensor = attack(images, targets if name.endswith("-targeted") else labels)
        return found

    return one


def art_attack(name: str, epsilon: float) -> One:
    """ART's form of an attack."""
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    size = 224
    model = PyTorchClassifier(
        Seen().eval(), nn.CrossEntropyLoss(), (3, size, size), 1000, clip_values=(0.0, 1.0), device_type="cpu"
    )
    targeted = name.endswith("-targeted")
    if name == "fgsm":
        attack = FastGradientMethod(model, eps=epsilon, batch_size=BATCH)
    else:
        attack = ProjectedGradientDescentPyTorch(
            model,
            eps=epsilon,
            eps_step=STEP * epsilon,
            max_iter=STEPS,
            targeted=targeted,
            num_random_init=1,
            batch_size=BATCH,
            verbose=False,
        )

    def one(images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        wanted = np.eye(1000, dtype=np.float32)[(targets if targeted else labels).numpy()]
        return torch.from_numpy(attack.generate(images.numpy(), wanted))

    return one


def main() -> None:
    """Print the seconds, keep the pictures."""
    words = given()
    images, labels, targets = pictures(words.pictures, words.most)
    made = {"foolbox": foolbox_attack, "torchattacks": torchattacks_attack, "art": art_attack}
    attack = made[words.library](words.attack, words.epsilon)
    parts = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    run(lambda: torch.cat([attack(images[part], labels[part], targets[part]) for part in parts]), words.out)


main()
