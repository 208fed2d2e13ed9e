# %% [markdown]
# # 5. The adversarial cat
#
# **How little does it take until a network sees something else, and can you trust the measurement?**
#
# The gradient that made the ideal cat also shows how to change a photo so that nobody sees the change and the network
# sees another thing (Szegedy 2014, Goodfellow 2015).

# %%
# %load_ext topwork.notebook
from photos import cat, few, few_digits, photos

pictures = photos("cats-vs-dogs")

# %% [markdown]
# ### through the file
#
# Many attacks exist only as numbers inside a program. This one changes the photo at its own size, through a twin of the
# whole way from file to network, saves it as a PNG, and asks the ordinary way again: every claim below is about a file on
# disk. Then it is saved as a JPEG, which throws away just what the eye does not see: the lower its quality, the less of such a
# change is left. Below the figure stands the attacked file itself.

# %%
# %topwork attack -b lite0 {cat()} --target zebra --epsilon 4/255 -o zebra.png --steps {few(40, 4)} --quiet

# %% [markdown]
# How small may the change be? `--smallest` looks for the smallest number of levels, of 255, that still fools. Any other answer
# will do now, and the photo was nearly a tie between two kinds of cats to begin with: a push over the edge needs less than a
# way to the zebra, and survives more.

# %%
# %topwork attack -b lite0 {cat()} --smallest -o smallest.png --steps {few(40, 4)} --quiet

# %% [markdown]
# ### curve
#
# One photo is an anecdote. For a folder: of the pictures that were right to begin with, how many are still right when
# every value may change by so much? The controls below the curve tell whether the *measurement* is sound: noise of the same
# size must do less, more steps must never do worse, a large change must fool all, and an attack that sees no gradients must
# not beat one that does. An attack that fails may only be a weak attack (Athalye 2018).

# %%
# %topwork fit {pictures} -o own.topwork --quiet
# %topwork attack own.topwork {pictures} -o curve.png --most {few(24, 4)} --epsilon 0.5/255,1/255,4/255 --steps {few(40, 4)} --quiet

# %% [markdown]
# Read the control of the noise before the curve. On handwritten digits, strange to the network, plain noise of 4/255 is enough
# to fool it, and there the attack proves nothing; at 0.5/255 noise does next to nothing and the attack fools all.
#
# ## A defence: adversarial training
#
# Learn from attacked pictures, and the network learns to withstand them (Madry 2018). It is the defence that held where many
# others were broken, and it has its price: every step attacks first, so it is slow, and pictures as they are may be read a
# little worse (Tsipras 2019). The change goes against the network's own answer and not against the label, which would give
# the label away (Kurakin 2017). Here in small: four handwritten digits, 40 pictures of each, the whole network learns. The
# lines below the first tell how many of the test pictures are right under attack, before and after.

# %%
digits = few_digits(4, few(40, 4), few(12, 2))
# %topwork fit {digits} -o soft.topwork --quiet
# %topwork finetune soft.topwork {digits} -o hard.topwork --adversarial --epsilon 1/255 --batch-size 8 --rate 1e-3 --epochs {few(8, 1)} --robustness defence.png --quiet

# %% [markdown]
# The smallest attacks, that left next to nothing before, now leave most; at the strength it learned with some are left, at
# twice that hardly any: strength is bought, not safety. On digits it cost no accuracy on untouched pictures; with twice the
# strength it did, and what was learned was hardly worth keeping. Should a control warn, heed it: where the loss was still rising
# when the attack ended, more steps would fool more, so the share left at that strength is at most what stands there.
#
# ## What was measured
#
# - One photo: the change, the answer from the file on every engine, and what survives JPEG.
# - The smallest change that is enough.
# - A curve with intervals over a folder, and controls that say whether it can be believed.
# - What adversarial training bought and what it cost.
#
# On photos: of 100 drawn from 300 ImageNet photos of 300 classes, one each, lite0 read 87 rightly, and an attack left 12.6 %
# of these at 0.5/255, 3.4 % at 1/255 and none at 8/255 (`topwork attack -b lite0 FOLDER --most 100 --epsilon
# 0.5/255,1/255,8/255`, 40 steps; 95 % intervals 7.2 to 21.2, 1.2 to 9.7 and 0 to 4.2). Noise as large as 8/255 left 15 of 16.
# Next: [the lab](6-the-lab.ipynb).
