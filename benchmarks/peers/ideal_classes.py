"""Names of classes of lite0, drawn with a seed, as JSON."""

import json
import sys

import numpy as np

from topwork import load_backbone
from topwork.grafted import grafted

names = grafted(load_backbone("lite0")).classes
seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
print(json.dumps([names[place] for place in np.random.default_rng(seed).choice(len(names), int(sys.argv[1]), replace=False)]))
