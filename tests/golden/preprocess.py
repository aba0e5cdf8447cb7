"""Makes preprocess.npz: pictures as torchvision's transforms prepare them.

python preprocess.py

Pictures are the noise of resample.py, saved as PNG and read again: Resize of the short side, CenterCrop, ToTensor and
Normalize, or a Resize to the whole input. The names of the arrays are width, height, size, short side (0: stretched) and
filter.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode as Mode

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(width, height):
    state, values = 12345, []
    for _ in range(3 * width * height):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return Image.fromarray(np.array(values, np.uint8).reshape(height, width, 3))


out = {}
for (width, height), size, short in [
    ((53, 37), 24, 28),
    ((37, 53), 24, 27),
    ((31, 31), 24, 24),
    ((20, 17), 24, 28),
    ((40, 30), 24, 0),
]:
    for mode in (Mode.NEAREST, Mode.BILINEAR, Mode.BICUBIC):
        file = io.BytesIO()
        noise(width, height).save(file, "PNG")
        resize = [T.Resize(short, mode), T.CenterCrop(size)] if short else [T.Resize((size, size), mode)]
        x = T.Compose([*resize, T.ToTensor(), T.Normalize(MEAN, STD)])(Image.open(file))
        out[f"{width} {height} {size} {short} {mode.value}"] = x.numpy().flatten()[::3]
np.savez(Path(__file__).with_name("preprocess.npz"), **out)
