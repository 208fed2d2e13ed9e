# %% [markdown]
# # 4. The ideal cat and the ideal zebra
#
# **What does a network have in mind when it says "cat"?**
#
# Turn training around: the weights stay, and the *picture* follows the gradient towards the class (Simonyan
# 2014). The result says what the network answers to. Whether that is a cat is another question, and other
# networks shall answer it.

# %%
# %load_ext topwork.notebook
from photos import few

# %% [markdown]
# ### recipes
#
# The textbook's recipe: start from noise, climb the log-probability of the class, and punish differences between
# neighbouring pixels a little. `lite1` and `lite2` are the judges: two networks that took no part. A percentage is the
# probability of the class that was asked for; a judge agrees where that class is its first answer.

# %%
# %topwork ideal -b lite0 "Egyptian cat" zebra -o textbook.png --recipe lesson --judges lite1,lite2 --steps {few(256, 4)} --quiet

# %% [markdown]
# While it was made the network became sure of it: with `--loop` the same command shows 99.8 % for the cat and 99.9 % for the
# zebra at step 256, and 95.6 % and 99.6 % at step 10 already. Saved and looked at again as any photo is, cut and resized a
# little, it is nothing any more, not even to itself, and nobody else ever saw it: gradients flow best through fine patterns
# that mean something to this one network in this one place. It is the same gap that
# [attacks](5-the-adversarial-cat.ipynb) live in.
#
# What makes it a picture: let it be a sum of waves that weaken the finer they are, nearly as in photos (Olah 2017), in
# colours that are as correlated as in photos, and show it to the network from ever other places and sizes, so that no
# single pixel counts.

# %%
# %topwork ideal -b lite0 "Egyptian cat" zebra -o waves.png --recipe fourier --judges lite1,lite2 --steps {few(256, 4)} --quiet --loop

# %% [markdown]
# The strip shows the way: first colours and coarse patches, then stripes, spots and heads. By step 50 the network is nearly
# sure, long before there is an animal to see. The loss jumps because every step looks at other cuts of the picture. A third
# recipe keeps the strength of every wave as it is in photos and only moves where the waves meet (MACO, Fel 2023).

# %%
# %topwork ideal -b lite0 "Egyptian cat" zebra -o phases.png --recipe maco --judges lite1,lite2 --steps {few(256, 4)} --quiet

# %% [markdown]
# ### judges
#
# "The network says zebra with 99 %" proves nothing: it was pushed to say so. What counts is whether networks that took no
# part agree. Two more pictures, judged:

# %%
# %topwork ideal -b lite0 daisy goldfinch -o others.png --judges lite1,lite2 --steps {few(256, 4)} --quiet

# %% [markdown]
# And is it a zebra for the reason that we would give? Below, which parts of the picture made the answer: warm is much, and it
# should lie on stripes and not on the grass.

# %%
# %topwork ideal -b lite0 zebra -o zebra.png --steps {few(256, 4)} --quiet
# %topwork explain -b lite0 zebra.png -o why.png

# %% [markdown]
# ## What was measured
#
# - The same class by three recipes, each with the probability that the network gives it and whether two others agree.
# - That being sure is not being right: the textbook's picture convinces only the network it was made for, in the very place it was made in.
# - What helped: another way to write the picture down (waves) and many views. The steps were as many.
#
# Next: [turning it around, the adversarial cat](5-the-adversarial-cat.ipynb).
