"""Whether quarter turns are views of the same thing: asked of the probe, on the validation pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from topwork.classifier import Classifier
from topwork.finetune.augment import quarter_turn
from topwork.finetune.reading import Seen
from topwork.heads.head import Head
from topwork.pictures.decode import decode, read_bytes, to_pixels
from topwork.runtime import cores

ASKED = 240
"""Pictures asked about at most."""
LOSS = 0.06
"""Share of right answers that may be lost by turning: what a probe loses that never saw pictures turned."""


def turns_of(classifier: Classifier, seen: Seen, head: Head) -> tuple[bool, str]:
    """(whether pictures may be turned, why): `head` must answer turned validation pictures nearly as well as upright ones."""
    rows = seen.validation[np.random.default_rng(0).permutation(len(seen.validation))[:ASKED]]
    geometry, engine = classifier.spec.geometry, classifier.engine

    def features(chunk: list[int]) -> list[np.ndarray]:
        pixels = []
        for place in chunk:
            path = seen.found.records.rows[rows[place]].path
            image = decode(read_bytes(path), wanted=geometry).image
            pixels.append(to_pixels(quarter_turn(image, 1 + place % 3), geometry))
        return list(engine.infer(np.stack(pixels)))

    chunks = [list(range(at, min(at + engine.batch, len(rows)))) for at in range(0, len(rows), engine.batch)]
    with ThreadPoolExecutor(max(cores(), engine.lanes)) as pool:
        turned = np.stack([row for some in pool.map(features, chunks) for row in some])
    labels = seen.labels[rows]
    upright = float((head.logits(seen.found.table.take(rows)).argmax(1) == labels).mean())
    sideways = float((head.logits(turned).argmax(1) == labels).mean())
    yes = sideways >= upright - LOSS
    told = f"the probe answers {upright:.1%} of {len(rows)} validation pictures right upright and {sideways:.1%} turned"
    return yes, f"{'yes' if yes else 'no'}: {told}"
