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
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import topwork
from photos import at_hand, cat, few, photos
from topwork.heads.metrics import wilson
from topwork.notebook import topwork as command
from topwork.pictures.decode import decode, read_bytes, to_pixels

# %% [markdown]
# ### before you begin
#
# Ten questions; think of an answer before you unfold it. In the terminal `topwork quiz before` asks them and tells
# what to read; with your ten letters behind it, so does a cell: `%topwork quiz before a b c d a b c d a b`.

# %%
# %topwork quiz before

# %% [markdown]
# ### features of a cat
#
# Each row below is one stage of the network: on the left its three main directions as colours, then its seven strongest
# channels. The first stages answer to edges and hair, the later ones to parts such as eyes and nose; and the maps shrink
# from 112 x 112 to 7 x 7 while the channels grow in number. What comes out at the end, 1,280 numbers, are the photo's
# *features*: photos that look alike lie near each other. That is what transfer learning transfers (Yosinski 2014).

# %%
# %topwork look -b lite0 {cat()} -o layers.png

# %% [markdown]
# A deep layer has a hundred channels or more. Its three main directions as red, green and blue, in full size, show what it
# holds apart: both eyes have one colour, the nose another, the fur a third, although nobody ever told the network what an
# eye is. It only had to tell a thousand things apart.

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
# The cat through the networks of the original lesson, from either zoo, wherever their weights are on this machine. VGG-16
# (Simonyan 2015) stacks plain convolutions, and its maps stay sharp for long; ResNet (He 2016) adds what each block finds to
# what came in, so that the cat's outline lasts; MobileNet (Sandler 2018) squeezes between its stages. Look at the same stage of
# the PyTorch and the Keras form of one network: what it looks for is alike, its channels are not, for each was trained anew.

# %%
for name in at_hand("vgg16", "resnet50", "mobilenet", "keras:VGG16", "keras:ResNet50", "keras:MobileNetV2"):
    command(f"look -b {name} {cat()} -o {name.replace(':', '-')}.png")

# %% [markdown]
# ### wrong preprocessing
#
# Feed a network something else than it was trained with, and no error comes: every network takes any numbers. So measure
# it. The same pictures, four ways: as they should be; with values from 0 to 255; with the colours in the wrong order; and
# with mean and deviation left out. On top of the last 1,280 features a plain logistic regression is cross-validated: the
# share that is right stands with its 95 % interval. (Grey pictures have no colours to swap: for them the third way changes
# nothing.)

# %%
backbone = topwork.load_backbone("lite0").eval()
geometry, mean, std = backbone.spec.geometry, backbone.mean, backbone.std
files = sorted((photos("cats-vs-dogs") / "train").glob("*/*"))
files = files[:: max(1, len(files) // few(600, 24))]
labels = np.array([file.parent.name for file in files])
pixels = np.stack([to_pixels(decode(read_bytes(file), wanted=geometry).image, geometry) for file in [*files, cat()]])
images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

# %%
probe, names = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), backbone.spec.class_names
fed = {"right": images, "0 to 255": images * 255, "blue first": images.flip(1), "no mean": images * std + mean}
with torch.inference_mode():
    for way, pictures in fed.items():
        features = torch.cat([backbone(part) for part in pictures.split(32)])[:, backbone.spec.views["last"]].numpy()
        answer = backbone.logits(pictures[-1:])[0].softmax(0)
        right = int((cross_val_predict(probe, features[:-1], labels, cv=3) == labels).sum())
        low, high = wilson(right, len(labels))
        print(f"{way:<11} {right / len(labels):.1%} of {len(labels)} right ({low:.1%} to {high:.1%}); ", end="")
        print(f"the cat: {names[int(answer.argmax())]} {float(answer.max()):.0%}")

# %% [markdown]
# ## What was measured
#
# - One network, seen from its first layer to its last: from edges to parts, from large maps to many channels.
# - The cat's answer under right and wrong preprocessing. With values up to 255 it is no cat any more, but given with no less
#   confidence: nothing warns you.
# - The probe's accuracy under each. On 600 photos of cats and dogs this lesson gave 98.8 % (97.6 to 99.4) fed as it should
#   be, 76.7 % (73.1 to 79.9) with values from 0 to 255, 97.2 % with blue first and 97.7 % without the mean. A head that is
#   *fitted* on wrongly fed features makes up for much of a small mistake, and that is why it is so often overlooked: the
#   accuracy looks fine until it is compared with the right one.
# - What is right for photos need not be best for every picture. Handwriting on black is no photo, and a little less contrast
#   suits it at least as well. That can be measured; it is no reason to feed a network by accident.
#
# With weights at hand the same commands take other networks: `-b vgg16`, `-b resnet50`, `-b keras:VGG16` (`topwork zoo get`).
#
# Next: [a whole folder, in seconds](2-stored-features.ipynb).
