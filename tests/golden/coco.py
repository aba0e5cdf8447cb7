"""Regions painted by COCO's own library: run lengths both ways, and polygons.

Run: python tests/golden/coco.py   (needs numpy and pycocotools 2.0.11)
"""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask

HERE = Path(__file__).parent


def rows(pixels):
    return ["".join("#" if p else "." for p in row) for row in pixels]


def runs(pixels):
    flat = pixels.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return [int(c) for c in np.diff(np.concatenate([[0], edges, [flat.size]]))]


def blobs():
    rng = np.random.default_rng(5)
    for height, width, share in [(23, 17, 0.5), (40, 31, 0.02), (9, 60, 0.97), (64, 64, 0.0), (64, 64, 1.0)]:
        yield (rng.random((height, width)) < share).astype(np.uint8)
    y, x = np.mgrid[:90, :120]
    yield ((y - 40) ** 2 + (x - 70) ** 2 < 900).astype(np.uint8)


POLYGONS = [
    [[10.3, 5.1, 50.7, 8.9, 42.2, 40.4, 15.8, 33.3]],
    [[5, 5, 25, 5, 25, 20, 5, 20], [30.5, 22.5, 60.25, 24.75, 45.5, 45.5]],
    [[2, 2, 60, 4, 8, 12, 58, 20, 3, 30, 61, 44, 2, 46]],
    [[-5, 20, 32, -4, 70, 22, 30, 52]],
]

cases = []
for pixels in blobs():
    packed = mask.encode(np.asfortranarray(pixels))
    size = [int(s) for s in packed["size"]]
    for counts in [packed["counts"].decode(), runs(pixels)]:
        cases.append({"segmentation": {"size": size, "counts": counts}, "rows": rows(pixels)})
for polygons in POLYGONS:
    pixels = mask.decode(mask.merge(mask.frPyObjects(polygons, 48, 64)))
    cases.append({"segmentation": polygons, "rows": rows(pixels)})
(HERE / "coco.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
