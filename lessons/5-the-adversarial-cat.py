# %% [markdown]
# # 5. The adversarial cat
#
# **How little does it take until a network sees something else, and can you trust the measurement?**
#
# The gradient that made the ideal cat also shows how to change a photo so that nobody sees the change and the network
# sees another thing (Szegedy 2014, Goodfellow 2015).

# %%
# %load_ext topwork.notebook
from photos import cat, few, photos

pictures = photos("cats-vs-dogs")

# %% [markdown]
# ### through the file
#
# Many attacks exist only as numbers inside a program. This one changes the photo at its own size, through a twin of the
# whole way from file to network, saves it as a PNG, and asks the ordinary way again: every claim below is about a file on
# disk. Then it is saved as a JPEG, which throws away just what the eye does not see.

# %%
# %topwork attack -b lite0 {cat()} --target zebra --epsilon 4/255 -o zebra.png --quiet

# %% [markdown]
# How small may the change be? `--smallest` looks for the smallest number of levels, of 255, that still fools.

# %%
# %topwork attack -b lite0 {cat()} --smallest -o smallest.png --quiet

# %% [markdown]
# ### curve
#
# One photo is an anecdote. For a folder: of the pictures that were right to begin with, how many are still right when
# every value may change by so much? The controls below the curve tell whether the *measurement* is sound: noise of the same
# size must do little, more steps must never do worse, a large change must fool all. An attack that fails may only be a
# weak attack (Athalye 2018).

# %%
# %topwork fit {pictures} -o own.topwork --quiet
# %topwork attack own.topwork {pictures} -o curve.png --most {few(24, 6)} --epsilon 0.5/255,1/255,4/255 --quiet

# %% [markdown]
# ## A defence: adversarial training
#
# Learn from attacked pictures, and the network learns to withstand them (Madry 2018). It is the defence that held where many
# others were broken, and it has its price: every step attacks first, so it is slow, and pictures as they are may be read a
# little worse (Tsipras 2019). The change goes against the network's own answer and not against the label, which would give
# the label away (Kurakin 2017). One command, some minutes:
#
#     topwork finetune own.topwork pictures/ -o hard.topwork --adversarial --epsilon 2/255 --batch-size 8 --rate 1e-3 --epochs 10
#
# On the digits 0 to 3 of scikit-learn, ten epochs of it made, attacked at 1/255, 0 of 100 test pictures right into 79, and of
# 120 as they are 95.0 % into 96.7 %. At 4/255, twice what it had learned with, nothing was left: it is strength that is bought,
# not safety.

# %% [markdown]
# ## What was measured
#
# - One photo: the change, the answer from the file on every engine, and what survives JPEG.
# - The smallest change that is enough.
# - A curve with intervals over a folder, and controls that say whether it can be believed.
#
# An undefended network keeps nothing at 8/255: of 100 photos that lite0 reads rightly 13 % were left at 0.5/255, 3 % at
# 1/255 and none at 8/255 (`topwork attack -b lite0`, 40 steps). Next: [the lab](6-the-lab.ipynb).
