# %% [markdown]
# # 7. The challenge: strange pictures
#
# **Does what was learned on photos help with pictures that are no such photos at all?**
#
# Satellite tiles, x-rays, handwriting: nothing like them was among the million photos. Sometimes transfer still works
# well, and sometimes from another layer than the last. This lesson measures which, before it trains anything.

# %%
# %load_ext topwork.notebook
import topwork
from photos import few, photos

pictures = photos("eurosat")

# %% [markdown]
# ### distance
#
# A network with batch normalisation carries with it what its training pictures looked like inside: the mean and variance
# of every channel. Compare those with your pictures', layer by layer, and no picture of the original set is needed. The
# profile says where along the network they part: strange brightness and edges at its beginning, strange things at its end.
# The second line gives the distances of sets that you can picture, to read yours by.

# %%
# %topwork distance {pictures}/train -o distance.png --pictures {few(1000, 60)}

# %% [markdown]
# "Taken for" is what the network's original thousand classes make of each of yours: names that mean nothing here, but each
# class has its own mixture of them. That is why its features can tell the classes apart.
#
# ### staged features
#
# The later a layer, the more it knows about the things it was trained on, and the less about anything else. So the pooled
# means of the earlier stages are worth a try (Head2Toe, Evci 2022). They come from the same pass and cost nothing;
# cross-validation on the training pictures chooses.

# %%
# %topwork fit {pictures} -o staged.topwork
print(topwork.Classifier.load("staged.topwork").facts["reasons"]["view"])

# %% [markdown]
# ## Training the end of the network
#
# Where the end of the network does not suit the pictures, let it learn: here the last four blocks, beginning with the head
# that was just fitted, from a new view of every picture in each epoch. Validation pictures alone decide whether the result is
# kept; the test pictures only tell what came of it. `--folds 1` saves time: without it, a gain that chance might have made is
# judged again with other pictures held out.

# %%
# %topwork finetune staged.topwork {pictures} -o tuned.topwork --unfreeze 4 --epochs {few(8, 1)} --views {few(8, 1)} --folds 1

# %% [markdown]
# Two different things are said below the epochs. "Because" is the decision, made on validation pictures. The line with the new
# bundle's name is the test, before and after, with McNemar's p: how often chance alone makes such a difference. On the digits,
# that were right in 97.5 % before, the validation loss halved and the test hardly moved: the digits of the test are from other
# writers than those it learned from and was validated on. On the satellite tiles it is told below.
#
# ## How many more pictures?
#
# The learning curve from nested parts, several draws each, and a power law through it with its interval (Hestness 2017).
# It tells what more pictures would bring, and which classes gain most. Near 100 % there is little left to extrapolate, and
# the answer says so: "perhaps no number is enough".

# %%
# %topwork curve {pictures}/train -o curve.png

# %% [markdown]
# ## The folder as a map
#
# Each picture a point, alike ones near each other (t-SNE, van der Maaten 2008). Red rings are suspect labels, blue ones
# pictures that are like no other. Clusters without a class of their own, and classes in two clusters, are worth a look.

# %%
# %topwork map {pictures}/train -o map.png --pictures {few(600, 60)}

# %% [markdown]
# ## After the lessons
#
# Ten more questions, about all seven lessons; `topwork quiz after` gives a score.

# %%
# %topwork quiz after

# %% [markdown]
# ## What was measured
#
# - How strange the pictures are to the network, by layer; and advice with its reason: last layer, stages or fine-tuning.
# - What the stages bring beyond the last layer, chosen on training pictures.
# - What training the end of the network changed, on validation and on test pictures.
# - How many pictures a class it would take, with an interval.
#
# On satellite tiles (EuroSAT, Helber 2019, 120 a class) `topwork distance --pictures 1000` gave 0.097, where photos of pets
# have 0.03; held-out tiles were told right in 91.6 % from the last layer and in 93.6 % from the stages. `topwork fit` gave
# 96.0 to 96.3 % (600 test pictures; the engine in bfloat16 or float32). `topwork finetune` without any flag let the last 8
# blocks learn, in 14 minutes. One fifth of the training tiles left it in doubt; four fifths, held out in turn, did not: 95.8 %
# of 960 right became 96.7 %, and the log loss 0.130 became 0.109 (standard error 0.008). The test then gave 96.5 % with one
# seed and 96.8 % with another (McNemar's exact p = 1 and 0.55): what 960 pictures show, 600 cannot.
