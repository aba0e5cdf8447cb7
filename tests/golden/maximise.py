#!/usr/bin/env python3
"""Objective traces of Lucent (torch-lucent 0.1.8) on a small network, and transforms of torchvision: makes maximise.npz.

    pip install torch torchvision torch-lucent
    python3 -P tests/golden/maximise.py     (-P: the module `statistics` is Python's)

Twenty steps of `render_vis` without transforms, from given numbers, in Lucent's Fourier and pixel parameterisations.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.functional as F
from lucent.optvis import objectives, param, render
from torch import nn

SIZE, STEPS = 32, 20


def network():
    torch.manual_seed(1)
    layers = nn.Sequential()
    layers.add_module("a", nn.Conv2d(3, 8, 5, stride=2, padding=2))
    layers.add_module("a_relu", nn.ReLU())
    layers.add_module("b", nn.Conv2d(8, 12, 3, stride=2, padding=1))
    layers.add_module("b_relu", nn.ReLU())
    return layers.eval()


def trace(net, objective, numbers, image_f):
    values = []

    def watched(hook):
        loss = objective(hook)
        values.append(-loss.item())
        return loss

    render.render_vis(net, watched, lambda: ([numbers], image_f), transforms=[], thresholds=(STEPS,), show_image=False,
                      progress=False, fixed_image_size=SIZE)
    return np.array(values[:STEPS], np.float32)


def fourier():
    torch.manual_seed(2)
    (spectrum,), inner = param.spatial.fft_image((1, 3, SIZE, SIZE))
    start = spectrum.detach().numpy().copy()
    # cavern keeps real and imaginary planes apart: [channel, 2, height, half].
    return start[0].transpose(0, 3, 1, 2), spectrum, param.color.to_valid_rgb(inner, decorrelate=True)


def pixel():
    torch.manual_seed(3)
    (pixels,), inner = param.spatial.pixel_image((1, 3, SIZE, SIZE))
    return pixels.detach().numpy().copy()[0], pixels, param.color.to_valid_rgb(inner, decorrelate=True)


def main():
    net = network()
    out = {name.replace(".", "_"): value.numpy() for name, value in net.state_dict().items()}
    grey = net(torch.zeros(1, 3, SIZE, SIZE))[0, :, 2:6, 2:6].mean((1, 2))
    unit = int(grey.argmax())
    out["unit"] = np.array([unit])
    direction = torch.randn(12, generator=torch.Generator().manual_seed(4))
    direction /= direction.norm()
    out["direction"] = direction.numpy()
    goals = {
        "channel": lambda: objectives.channel("b_relu", unit),
        "neuron": lambda: objectives.neuron("b_relu", unit, x=3, y=2),
    }
    for name, make in (("fourier", fourier), ("pixel", pixel)):
        for goal in ("channel", "neuron"):
            start, numbers, image_f = make()
            out[f"{name}_start"] = start
            out[f"{name}_{goal}"] = trace(net, goals[goal](), numbers, image_f)
        # Lucent's own `direction` is a cosine; the mean product with a direction is a weighted sum of channels.
        start, numbers, image_f = make()
        whole = sum(float(v) * objectives.channel("b_relu", i) for i, v in enumerate(direction))
        out[f"{name}_direction"] = trace(net, whole, numbers, image_f)
    # Geometry: one picture under fixed draws. torchvision turns counter-clockwise about the middle of the picture.
    picture = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    out["picture"] = picture.numpy()
    inter = F.InterpolationMode.BILINEAR
    out["rotated"] = F.rotate(picture, 10.0, interpolation=inter, fill=[0.5]).numpy()
    out["shifted"] = F.affine(picture, angle=0, translate=[3, -2], scale=1.0, shear=[0.0], interpolation=inter, fill=[0.5]).numpy()
    out["scaled"] = F.affine(picture, angle=0, translate=[0, 0], scale=1.25, shear=[0.0], interpolation=inter, fill=[0.5]).numpy()
    out["blurred"] = F.gaussian_blur(picture, [9, 9], [1.3, 1.3]).numpy()
    out["flipped"] = F.hflip(picture).numpy()
    target = Path(__file__).with_suffix(".npz")
    np.savez(target, **{k: np.asarray(v, np.float64 if v.dtype == np.float64 else np.float32) for k, v in out.items()})
    print(target, target.stat().st_size)
    for key, value in out.items():
        if value.shape == (STEPS,):
            print(key, value[[0, 1, 5, 19]])


if __name__ == "__main__":
    main()
