"""One explanation by the plain script: timm's network, captum's Grad-CAM at the last convolution, drawn over the picture."""

from __future__ import annotations

import sys
import time

import matplotlib.pyplot as plt
import timm.data
from captum.attr import LayerAttribution, LayerGradCam
from common import LITE0, tell, timm_network
from PIL import Image


def main() -> None:
    """Explain the picture `argv[1]` into the figure `argv[2]`; the process from start to exit is what counts."""
    start = time.perf_counter()
    network = timm_network(LITE0, classes=None)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    picture = Image.open(sys.argv[1]).convert("RGB")
    image = transform(picture).unsqueeze(0)
    label = int(network(image).argmax(1))
    coarse = LayerGradCam(network, network.bn2).attribute(image, target=label, relu_attributions=True)
    fine = LayerAttribution.interpolate(coarse, image.shape[2:], "bilinear")[0, 0].detach()
    _, axes = plt.subplots(1, 2, figsize=(8, 4))
    axes[0].imshow(picture)
    axes[1].imshow(image[0].mean(0), cmap="gray")
    axes[1].imshow(fine, cmap="inferno", alpha=0.5)
    plt.savefig(sys.argv[2])
    seconds = time.perf_counter() - start
    tell(seconds=seconds, images=1, images_per_second=1 / seconds, label=label)


if __name__ == "__main__":
    main()
