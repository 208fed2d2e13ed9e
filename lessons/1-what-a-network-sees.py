# %% [markdown]
# # 1. What a pretrained network sees
#
# A network was trained on a million photos of a thousand things. Your pictures were not among them. **What can it still
# tell you about them?**
#
# This lesson looks at one photo of a cat through a small network that comes with the install (EfficientNet-Lite0), layer
# by layer; then at the two zoos such networks come from; and then it feeds the network wrongly, on purpose, and measures
# what that costs.

# %%
# %load_ext topwork.notebook
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import topwork
from photos import cat, few, photos
from topwork.pictures.decode import decode, read_bytes, to_pixels

# %% [markdown]
# ### features of a cat
#
# Each strip below is one stage of the network: its eight strongest channels. The first stages answer to edges and spots,
# the later ones to parts; and the maps shrink from 112 x 112 to 7 x 7 while the channels grow in number. What comes out at
# the end, 1,280 numbers, are the photo's *features*: photos that look alike lie near each other. That is what transfer
# learning transfers (Yosinski 2014).

# %%
# %topwork look -b lite0 {cat()} -o layers.png

# %% [markdown]
# A deep layer has hundreds of channels. Its three main directions as red, green and blue show what it holds apart: here
# the animal from what is around it, although nobody ever told the network where a cat ends.

# %%
# %topwork look -b lite0 {cat()} --layer blocks.4 --pca -o directions.png

# %% [markdown]
# And which pixels made it say what it says? Grad-CAM (Selvaraju 2017) weighs the last maps by how much the answer
# depends on them.

# %%
# %topwork explain -b lite0 {cat()} -o why.png

# %% [markdown]
# ## Two zoos
#
# The same architectures are published with PyTorch (here through timm) and with Keras, with different weights and, easily
# overlooked, with **different preprocessing**. In topwork a name brings its own: you never write it down.

# %%
# %topwork zoo show mobilenet
# %topwork zoo show keras:MobileNetV2
# %topwork zoo show keras:VGG16

# %% [markdown]
# ### wrong preprocessing
#
# Feed a network something else than it was trained with, and no error comes: every network takes any numbers. So measure
# it. The same pictures, four ways: as they should be; with values from 0 to 255; with the colours in the wrong order; and
# with mean and deviation left out. On top of the last 1,280 features a plain logistic regression is cross-validated. (Grey
# pictures have no colours to swap: for them the third way changes nothing.)

# %%
backbone = topwork.load_backbone("lite0").eval()
geometry, mean, std = backbone.spec.geometry, backbone.mean, backbone.std
files = sorted((photos("cats-vs-dogs") / "train").glob("*/*"))
files = files[:: max(1, len(files) // few(200, 24))]
labels = [file.parent.name for file in files]
pixels = np.stack([to_pixels(decode(read_bytes(file), wanted=geometry).image, geometry) for file in [*files, cat()]])
images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

# %%
fed = {"right": images, "0 to 255": images * 255, "blue first": images.flip(1), "no mean": images * std + mean}
with torch.inference_mode():
    for way, pictures in fed.items():
        features = torch.cat([backbone(part) for part in pictures.split(32)]).numpy()  # stages, 1,280 last ones, 1,000 answers
        answer = backbone.logits(pictures[-1:])[0].softmax(0)
        right = cross_val_score(LogisticRegression(max_iter=500), features[:-1, -2280:-1000], labels, cv=3).mean()
        print(f"{way:<12} probe {right:.1%} right; the cat is number {int(answer.argmax())} with {float(answer.max()):.0%}")

# %% [markdown]
# ## What was measured
#
# - One network, seen from its first layer to its last: from edges to parts, from large maps to many channels.
# - The cat's answer under right and wrong preprocessing: number 281 to 285 are ImageNet's cats. Fed wrongly, the answer
#   moves, and nothing warns you.
# - The probe's accuracy under each: values 255 times too large cost most. A head that is *fitted* on wrongly fed features
#   can partly make up for it, and that is why the mistake is so often overlooked: the accuracy looks fine until it is
#   compared with the right one.
#
# With weights at hand the same commands take other networks: `-b vgg16`, `-b resnet50`, `-b keras:VGG16` (`topwork zoo get`).
#
# Next: [a whole folder, in seconds](2-stored-features.ipynb).
