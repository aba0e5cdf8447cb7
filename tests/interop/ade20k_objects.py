"""The classes of ADE20K (full, 2016) from its index: a list of {"name", "part"} in the order of their numbers from 1 on.

Run: python tests/interop/ade20k_objects.py ADE20K_2016_07_26/index_ade20k.mat ADE20K_2016_07_26/objects.json
Needs numpy and scipy. `part` is the share of a class's instances that are parts of something.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat


def objects(path):
    index = loadmat(path, squeeze_me=True)["index"]
    names = [str(name) for name in np.atleast_1d(index["objectnames"][()])]
    shares = np.atleast_1d(index["proportionClassIsPart"][()]).astype(float)
    if len(names) != len(shares):
        sys.exit(f"{path}: {len(names)} names and {len(shares)} shares of parts: not the index of 2016?")
    return [{"name": name, "part": round(float(share), 4)} for name, share in zip(names, np.nan_to_num(shares))]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = objects(sys.argv[1])
    Path(sys.argv[2]).write_text("[\n" + ",\n".join(json.dumps(c) for c in found) + "\n]\n")
    print(f"{len(found)} classes, {sum(c['part'] > 0 for c in found)} of them parts of something")
