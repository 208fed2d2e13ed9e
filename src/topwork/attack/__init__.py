"""How little it takes to make a classifier see something else: attacks, the bench, and the checks that keep both honest.

An attack is a frozen dataclass of its settings; called with a victim, images in [0, 1], labels and a list of epsilons it
returns `Attacked`. Nothing here knows of mean and standard deviation: normalisation lives inside the network.
"""
