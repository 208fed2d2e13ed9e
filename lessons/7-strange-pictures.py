# %% [markdown]
# # 7. The challenge: strange pictures
#
# **Does what was learned on photos help with pictures that are no such photos at all?**
#
# Satellite tiles, x-rays, handwriting: nothing like them was among the million photos. Sometimes transfer still works
# well, and sometimes from another layer than the last. This lesson measures which, before any training.

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

# %%
# %topwork distance {pictures}/train -o distance.png --pictures {few(1000, 60)}

# %% [markdown]
# "Taken for" is what the network's original thousand classes make of each of yours: names that mean nothing here, and
# still the same ones for the same class. That is why its features can tell the classes apart.
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
# Where the end of the network does not suit the pictures, let it learn: the last half of the blocks, beginning with the head
# that was just fitted. It is kept only if validation pictures say that it helped.

# %%
# %topwork finetune staged.topwork {pictures} -o tuned.topwork --unfreeze 8 --epochs {few(4, 1)} --views {few(2, 1)}

# %% [markdown]
# ## How many more pictures?
#
# The learning curve from nested parts, several draws each, and a power law through it with its interval (Hestness 2017).
# It tells what more pictures would bring, and which classes gain most.

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
# ## What was measured
#
# - How strange the pictures are to the network, by layer; and advice with its reason: last layer, stages or fine-tuning.
# - What the stages bring beyond the last layer, chosen on training pictures.
# - How many pictures a class it would take, with an interval.
#
# On 1,200 satellite tiles (EuroSAT, 120 a class) the distance was 0.095, where photos of pets have about 0.03; held-out
# tiles were told right in 90.5 % from the last layer and in 94.0 % from the stages (`topwork distance`), and the fit
# above gave 96.0 % (94.1 to 97.3, 600 test pictures). Fine-tuning the last eight blocks, `topwork finetune --unfreeze 8`,
# made it 97.3 % (95.7 to 98.4; McNemar's exact p = 0.021).
