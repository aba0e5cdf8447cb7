"""Writes resample.txt: pictures of noise resized by Pillow. A line: filter, width, height, new width, new height, bytes."""
from pathlib import Path

from PIL import Image

FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def noise(width, height):
    state, values = 12345, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(values))


lines = []
for name, kind in FILTERS.items():
    for w, h, to_w, to_h in [(16, 12, 23, 19), (20, 17, 9, 8), (13, 21, 13, 10), (7, 5, 20, 14)]:
        picture = noise(w, h).resize((to_w, to_h), kind)
        lines.append(f"{name} {w} {h} {to_w} {to_h} {picture.tobytes().hex()}\n")
Path(__file__).with_suffix(".txt").write_text("".join(lines))
