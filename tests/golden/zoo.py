"""Makes zoo_*.npz: the zoo's networks in PyTorch, in f64, with weights of one formula.

python zoo.py

Weights, input and the projection of the last layer follow from their names (see `tensor`), rounded to f32. Of three
layers, and of the gradient of the projection with respect to the input, every n-th value, the sum and the sum of sizes
are kept.

No unit may stand at its kink, where f32 could take the other side. So batch norms shift their channels many standard
deviations up or down (`OFFSET`), in pairs, and channels of a pair have opposite weights in the layers that follow: what
the shifts add cancels. Norms within a block are small: a stage's sum hardly grows.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benches"))
from vit import Vit

SAMPLES = 3001
OFFSET = 16.0


def uniform(name, count):
    """Numbers in (-1, 1): splitmix64 of the place after FNV-1a of the name, its upper 53 bits."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    u = np.uint64
    z = u(start) + np.arange(1, count + 1, dtype=u) * u(0x9E3779B97F4A7C15)
    z = (z ^ (z >> u(30))) * u(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u(27))) * u(0x94D049BB133111EB)
    return ((z ^ (z >> u(31))) >> u(11)).astype(np.float64) / 2.0**52 - 1.0


def tensor(name, shape, plain=False):
    values = uniform(name, int(np.prod(shape)))
    if not plain:
        if len(shape) in (2, 4):
            values = (values * (6.0 / np.prod(shape[1:])) ** 0.5).reshape(*shape[:2], -1)
            values[:, 1::2] = -values[:, : shape[1] // 2 * 2 : 2]
        elif name.endswith(("weight", "running_var", "gamma")):
            values = (1.0 + 0.5 * values) * (0.6 if ".bn" in name and name.endswith("weight") else 1.0)
        elif name.endswith("bias") and ("bn" in name or "downsample.1" in name):
            values = 0.5 * values + np.where(np.arange(len(values)) & 2, -OFFSET, OFFSET)
        else:
            values = 0.5 * values
    return torch.tensor(values.astype(np.float32).astype(np.float64)).reshape(shape)


def margins(model):
    """The least distances to a kink that the next pass meets: of a ReLU's input from zero, and between the two largest
    of a pool's window. In standard deviations of the channel."""
    least = {}

    def note(kind, distance, x):
        least[kind] = min(least.get(kind, np.inf), (distance / x.std((2, 3), keepdim=True)).min().item())

    def relu(_, inputs):
        note("ReLU", inputs[0].abs(), inputs[0])

    def pool(_, inputs):
        x = inputs[0][:, inputs[0].amax((0, 2, 3)) > 0]
        best = F.unfold(x, 3, 1, 1, 2).reshape(*x.shape[:2], 9, -1).topk(2, 2).values
        note("pool", (best[:, :, :1] - best[:, :, 1:]), x)

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
            module.register_forward_pre_hook(relu)
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(pool)
    return least


def make(name, model, layers):
    """`layers` maps cavern's names to modules; the empty name of a module is the whole model."""
    weights = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: tensor(k, tuple(v.shape)) for k, v in weights.items()}, strict=False)
    model = model.double().eval()
    kept, least = {}, margins(model)
    for layer, module in layers.items():
        model.get_submodule(module).register_forward_hook(lambda _, x, y, n=layer: kept.__setitem__(n, y.detach().clone()))
    x = tensor("scene", (1, 3, 224, 224), plain=True).requires_grad_()
    y = model(x)
    print(name, "margins", least)
    assert all(distance > 5e-6 for distance in least.values()) and least.get("ReLU", 1) > 1e-4
    (kept["gradient"],) = torch.autograd.grad((y * tensor("projection", tuple(y.shape), plain=True)).sum(), x)
    out = {"samples": np.array([SAMPLES])}
    for layer, values in kept.items():
        values = values.flatten().numpy()
        out[f"{layer}.values"] = values[:: -(-len(values) // SAMPLES)].astype(np.float32)
        out[f"{layer}.sums"] = np.array([values.sum(), np.abs(values).sum()])
        print(name, layer, len(values), np.abs(values).max(), values.std(), out[f"{layer}.values"].shape)
    np.savez(Path(__file__).with_name(f"zoo_{name}.npz"), **out)


if __name__ == "__main__":
    models = torchvision.models
    taps = {"layer1.1": "layer1.1", "layer3.0.downsample": "layer3.0.downsample", "logits": ""}
    make("resnet18", models.resnet18(), taps)
    make("resnet50", models.resnet50(), {"layer1.0.conv3": "layer1.0.bn3", "layer3.0": "layer3.0", "logits": ""})
    taps = {"blocks.0.attn.heads": "blocks.0.attn.inner", "blocks.5": "blocks.5", "class_token": ""}
    make("vit_small_patch14", Vit(), taps)
