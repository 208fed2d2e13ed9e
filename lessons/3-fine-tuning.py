# %% [markdown]
# # 3. Fine-tuning and the training tricks
#
# **When should the network itself learn, and which of the many tricks matter?**
#
# A frozen network is where to begin. Where pictures are unlike those it grew up with, its last blocks can be trained on.
# That is easy to do and easy to do badly: this lesson shows what goes wrong, and lets your own pictures say what helps.

# %%
# %load_ext topwork.notebook
from pathlib import Path

import torch

import topwork
from photos import few, photos, shortened

pictures = photos("eurosat")

# %% [markdown]
# ### head first
#
# A random head sends large gradients without meaning into the network and bends good features before it has learned
# anything. So first the head is fitted, then both learn (LP-FT, Kumar 2022). The two runs below differ in nothing else.

# %%
# %topwork fit {pictures} -o head.topwork

# %%
# %topwork finetune head.topwork {pictures} -o first.topwork --unfreeze 1 --epochs {few(4, 1)} --patience 2 --views {few(2, 1)}

# %%
# %topwork finetune head.topwork {pictures} -o random.topwork --unfreeze 1 --epochs {few(4, 1)} --patience 2 --views {few(2, 1)} --head-start xavier

# %% [markdown]
# Validation loss by epoch, number 0 being the start; the lower one wins. topwork keeps the network as it was unless
# validation pictures say that fine-tuning helped, and McNemar's exact test (1947) compares both on the same test pictures.

# %%
for name in ("first", "random"):
    tuned = topwork.Classifier.load(f"{name}.topwork").facts["finetune"]
    print(name, [round(row["loss"], 3) for row in tuned["history"]], "best epoch", tuned["best_epoch"], "|", tuned["sentence"])

# %% [markdown]
# **Early stopping** is in these runs (`--patience 2`): after two epochs without a better validation loss learning ends, and the best
# weights are restored (Prechelt 1998). The training loss would go on falling; it tells nothing about new pictures.
#
# ### frozen statistics
#
# "Frozen" means more than no gradients. Batch normalisation collects the mean and variance of whatever flows through it
# as long as it is in training mode, gradients or not (Ioffe 2015):

# %%
norm = torch.nn.BatchNorm2d(4).requires_grad_(False)
stranger = torch.randn(32, 4, 8, 8) + 3
norm.eval()(stranger)
print("in evaluation mode the means stay:  ", norm.running_mean.tolist())
norm.train()(stranger)
print("in training mode they move all the same:", [round(one, 2) for one in norm.running_mean.tolist()])

# %% [markdown]
# So topwork keeps the statistics of the million pictures, unless you ask for `--batch-norm updated`.
#
# ## Each trick alone
#
# From one base recipe each trick is switched on or off alone, with several seeds and splits, on stored activations. The
# base's own spread between seeds is the yardstick: a difference inside it is none. Here a dozen pictures of each of six
# classes, so that it takes a minute or two; give it your whole folder.

# %%
some = shortened(pictures, Path("some"))
# %topwork tricks {some}/train -o tricks --seeds {few(3, 2)} --quiet

# %% [markdown]
# ## What was measured
#
# - Two fine-tunings that differ only in where the head began.
# - That a layer without gradients still changed, and what stops it.
# - Every trick of the list on these pictures, with its interval: most do little, a few much, and which these are depends
#   on the pictures. How activations spread with each initialisation (Glorot 2010, He 2015), and how the loss falls with
#   each optimiser, are in the figures.
#
# Next: [what the network thinks a cat is](4-the-ideal-cat.ipynb).
