"""The same attack by topwork, as `topwork attack` runs it at the network's input; timed without imports."""

from __future__ import annotations

from attack_common import STEP, STEPS, given, pictures, run

from topwork.attack.attacked import Attack
from topwork.attack.gradient import FGSM, PGD
from topwork.attack.minimal import DDN, FMN, DeepFool
from topwork.attack.opening import input_victim
from topwork.attack.subject import open_subject

ATTACKS: dict[str, Attack] = {
    "fgsm": FGSM(),
    "pgd": PGD(steps=STEPS, step=STEP),
    "pgd-all-steps": PGD(steps=STEPS, step=STEP, stop=False),
    "pgd-targeted": PGD(steps=STEPS, step=STEP),
    "ddn": DDN(STEPS),
    "fmn": FMN(steps=STEPS),
    "deepfool": DeepFool(),
}

words = given()
images, labels, targets = pictures(words.pictures, words.most)
victim = input_victim(open_subject(None))
goals = targets if words.attack.endswith("-targeted") else None
attack, epsilon = ATTACKS[words.attack], words.epsilon or 1e9  # an attack for the smallest change keeps to no epsilon
run(lambda: attack(victim, images, labels, [epsilon], goals).images[0], words.out)
