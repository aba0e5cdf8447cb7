"""Converts PASCAL-Part (Chen et al. 2014) from MATLAB files to PNG and JSON, once.

Run: python tests/interop/pascal_part.py Annotations_Part VOC2010/annotations
Needs numpy, scipy and Pillow. For every ID.mat it writes ID.json and as many ID_LAYER.png as needed:

    {"layers": 2, "objects": [{"name": "dog", "layer": 0, "value": 1,
                               "parts": [{"name": "head", "layer": 1, "value": 2}]}]}

A region is where red + 256 * green of its layer is its value. Regions that overlap lie in different layers, objects
before parts. Numbered parts (`engine_2`) lose their number. An object without parts was not annotated with any.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat


class Layers:
    """Regions in as few pictures as they fit in without overlap."""

    def __init__(self):
        self.layers = []
        self.values = 0

    def add(self, mask, first):
        mask = np.asarray(mask) != 0
        self.values += 1
        place = first
        while place < len(self.layers) and (self.layers[place][mask] != 0).any():
            place += 1
        while place >= len(self.layers):
            self.layers.append(np.zeros(mask.shape, np.uint16))
        self.layers[place][mask] = self.values
        return {"layer": place, "value": self.values}


def each(value):
    return np.atleast_1d(value).ravel() if np.size(value) else []


def convert(path):
    objects = each(loadmat(path, squeeze_me=True, struct_as_record=False)["anno"].objects)
    layers, found = Layers(), []
    for thing in objects:
        found.append({"name": str(getattr(thing, "class")), **layers.add(thing.mask, 0), "parts": []})
    first = len(layers.layers)
    for thing, entry in zip(objects, found):
        for part in each(thing.parts):
            name = re.sub(r"_\d+$", "", str(part.part_name))
            entry["parts"].append({"name": name, **layers.add(part.mask, first)})
    return {"layers": len(layers.layers), "objects": found}, layers.layers


def save(layer, path):
    colours = np.stack([layer % 256, layer // 256, np.zeros_like(layer)], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(path)


def main(source, target):
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(source.glob("*.mat"))
    for path in files:
        entry, layers = convert(path)
        for number, layer in enumerate(layers):
            save(layer, target / f"{path.stem}_{number}.png")
        (target / f"{path.stem}.json").write_text(json.dumps(entry) + "\n")
    print(f"{len(files)} pictures")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
