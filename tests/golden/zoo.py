"""Makes zoo_*.npz: the zoo's networks in PyTorch, in f64, with weights of one formula.

python zoo.py [NAME ...]

Weights, input and the projection of the last layer follow from their names (see `tensor`), rounded to f32. Of three
layers, and of the gradient of the projection with respect to the input, every n-th value, the sum and the sum of sizes
are kept.

No unit may stand at its kink, where f32 could take the other side. So batch norms called `bn` shift their channels many
standard deviations up or down (`OFFSET`), in pairs, and channels of a pair have opposite weights in the layers that
follow: what the shifts add cancels. Norms within a block are small: a stage's sum hardly grows. Networks whose norms have
other names are shown a small picture: of several, `scene`, one that meets no kink.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.googlenet import BasicConv2d

from zoo_nets import Cifar, Fcn, Lite, Mlp, Registers, Resnet1d, VggMini, Vit

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
        if len(shape) in (2, 4) or (len(shape) == 3 and name.endswith("weight")):
            values = (values * (6.0 / np.prod(shape[1:])) ** 0.5).reshape(*shape[:2], -1)
            values[:, 1::2] = -values[:, : shape[1] // 2 * 2 : 2]
        elif name.endswith(("weight", "running_var", "gamma")):
            values = (1.0 + 0.5 * values) * (0.6 if ".bn" in name and name.endswith("weight") else 1.0)
        elif name.endswith("bias") and (name.startswith("bn") or ".bn" in name or "downsample.1" in name):
            values = 0.5 * values + np.where(np.arange(len(values)) & 2, -OFFSET, OFFSET)
        else:
            values = 0.5 * values
    return torch.tensor(values.astype(np.float32).astype(np.float64)).reshape(shape)


def margins(model):
    """The least distances to a kink that passes meet: of a non-linearity's input from its kinks, and between the two
    largest of a pool's window. In standard deviations of the layer."""
    least = {}

    def note(kind, distance, x):
        least[kind] = min(least.get(kind, np.inf), (distance.min() / x.std()).item())

    def relu(module, inputs):
        x = inputs[0].detach()
        note("ReLU", x.abs(), x)
        if isinstance(module, nn.ReLU6):
            note("ReLU", (x - 6).abs(), x)

    def basic(_, inputs, output):
        note("ReLU", output.detach().abs(), output.detach())

    def pool(module, inputs):
        x, m = inputs[0].detach(), module
        x = x[:, x.amax((0, 2, 3)) > 0]
        more = m.kernel_size if m.ceil_mode else 0
        padded = F.pad(x, (m.padding, m.padding + more) * 2, value=-1e9)
        best = F.unfold(padded, m.kernel_size, 1, 0, m.stride).reshape(*x.shape[:2], m.kernel_size**2, -1).topk(2, 2).values
        # Two that are the same are the same value, met by two windows of the pool before.
        gap = (best[:, :, 0] - best[:, :, 1])[(best[:, :, 0] > 0) & (best[:, :, 0] > best[:, :, 1])]
        note("pool", gap, x)

    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
            module.register_forward_pre_hook(relu)
        if isinstance(module, BasicConv2d):
            module.bn.register_forward_hook(basic)
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(pool)
    return least


def make(name, model, layers, shape=(3, 224, 224), samples=1001):
    """`layers` maps cavern's names to modules; the empty name of a module is the whole model."""
    path = Path(__file__).with_name(f"zoo_{name}.npz")
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    weights = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: tensor(k, tuple(v.shape)) for k, v in weights.items()}, strict=False)
    model = model.double().eval()
    for p in model.parameters():
        p.requires_grad_(False)
    kept, least = {}, margins(model)
    for layer, module in layers.items():
        model.get_submodule(module).register_forward_hook(lambda _, x, y, n=layer: kept.__setitem__(n, y.detach().clone()))
    for scene in range(200):
        least.clear()
        x = tensor(f"scene {scene}", (1, *shape), plain=True).requires_grad_()
        y = model(x)
        if all(distance > 5e-6 for distance in least.values()):
            break
    else:
        raise SystemExit(f"{name}: every scene meets a kink: {least}")
    print(name, "scene", scene, "margins", least)
    (kept["gradient"],) = torch.autograd.grad((y * tensor("projection", tuple(y.shape), plain=True)).sum(), x)
    out = {"samples": np.array([samples]), "scene": np.array([scene])}
    for layer, values in kept.items():
        values = values.flatten().numpy()
        out[f"{layer}.values"] = values[:: -(-len(values) // samples)].astype(np.float32)
        out[f"{layer}.sums"] = np.array([values.sum(), np.abs(values).sum()])
        print("   ", layer, len(values), np.abs(values).max(), values.std(), out[f"{layer}.values"].shape)
    np.savez(path, **out)


def positions():
    """Position embeddings for another grid, as DINOv2's interpolate_pos_encoding and timm's resample_abs_pos_embed."""
    out = {}
    for old, new in ((37, 16), (14, 24), (7, 9)):
        embedding = tensor("positions", (1, 1 + old * old, 3), plain=True).float()
        grid = embedding[:, 1:].reshape(1, old, old, 3).permute(0, 3, 1, 2)
        factor = float(new + 0.1) / old
        for name, how in {
            "dinov2": {"scale_factor": (factor, factor)},
            "antialiased": {"size": (new, new), "antialias": True},
        }.items():
            resized = F.interpolate(grid, mode="bicubic", **how).permute(0, 2, 3, 1).reshape(1, -1, 3)
            out[f"{name}.{old}.{new}"] = torch.cat([embedding[:, :1], resized], 1).flatten().numpy()
    np.savez(Path(__file__).with_name("zoo_positions.npz"), **out)


def narrow(vgg):
    """With narrow hidden layers."""
    vgg.classifier[0], vgg.classifier[3], vgg.classifier[6] = nn.Linear(25088, 96), nn.Linear(96, 64), nn.Linear(64, 1000)
    return vgg


if __name__ == "__main__":
    models, small = torchvision.models, (3, 64, 64)
    positions()
    taps = {"layer1.1": "layer1.1", "layer3.0.downsample": "layer3.0.downsample", "logits": ""}
    make("resnet18", models.resnet18(), taps)
    make("resnet34", models.resnet34(), taps, small)
    taps = {"layer1.0.conv3": "layer1.0.bn3", "layer3.0": "layer3.0", "logits": ""}
    make("resnet50", models.resnet50(), taps)
    make("resnet101", models.resnet101(), taps, small)
    taps = {"layer1.0": "layer1.0", "layer2.0": "layer2.0", "logits": ""}
    make("resnet20", Cifar(3, 3), taps, (3, 32, 32))
    make("resnet8", Cifar(1, 1), taps, (1, 28, 28))
    make("vgg11", narrow(models.vgg11()), {"conv3_2": "features.9", "pool5": "features.20", "logits": ""}, (3, 32, 32))
    make("vgg_mini", VggMini(1, 16), {"conv1_2": "features.3", "pool2": "features.9", "logits": ""}, (1, 28, 28))
    taps = {"conv3_2": "features.19", "pool5": "features.34", "logits": ""}
    make("vgg13_bn", narrow(models.vgg13_bn()), taps, small)
    taps = {"maxpool1": "maxpool1", "inception4b": "inception4b", "logits": ""}
    make("googlenet", models.googlenet(aux_logits=False, transform_input=False, init_weights=False), taps, small)
    taps = {"features.2.depthwise": "features.2.conv.1", "features.9": "features.9", "logits": ""}
    make("mobilenet_v2", models.mobilenet_v2(), taps, small)
    taps = {"blocks.1.depthwise": "blocks.1.depthwise", "blocks.10": "blocks.10", "logits": ""}
    make("efficientnet_lite0", Lite(1.0, 1.0), taps, small)
    make("efficientnet_lite3", Lite(1.2, 1.4), taps, (3, 32, 32))
    taps = {"features.1.0.depthwise": "features.1.0.block.0", "features.5.4": "features.5.4", "logits": ""}
    make("convnext_tiny", models.convnext_tiny(), taps, small)
    taps = {"blocks.0.attn.heads": "blocks.0.attn.inner", "blocks.5": "blocks.5", "class_token": ""}
    make("vit_small_patch14", Vit(), taps)
    taps = {"blocks.0.attn.heads": "blocks.0.attn.inner", "blocks.5": "blocks.5", "logits": ""}
    make("vit_tiny_patch16", Vit(192, 12, 3, 16, 4, scaled=False, classes=1000), taps, small)
    taps = {"blocks.0.attn.heads": "blocks.0.attn.inner", "blocks.2": "blocks.2", "logits": ""}
    make("vit_mini", Vit(64, 4, 2, 4, 7, scaled=False, classes=10, channels=1), taps, (1, 28, 28))
    model = models.VisionTransformer(48, 16, 2, 2, 128, 512, num_classes=10)
    taps = {"tokens": "encoder.dropout", "blocks.0": "encoder.layers.encoder_layer_0", "logits": ""}
    make("vit_torchvision", model, taps, (3, 48, 48))
    taps = {"blocks.0.attn.heads": "blocks.0.attn.inner", "blocks.0": "blocks.0", "class_token": ""}
    make("vit_registers", Registers(False), taps, (3, 48, 48))
    make("vit_registers_timm", Registers(True), taps, (3, 48, 48))
    make("fcn", Fcn(2), {"convblock1": "convblock1", "convblock3": "convblock3", "logits": ""}, (2, 1, 50))
    taps = {"resblock1": "resblock1", "resblock3.shortcut": "resblock3.shortcut", "logits": ""}
    make("resnet1d", Resnet1d(2), taps, (2, 1, 50))
    make("mlp", Mlp(784, 256, 256, 10), {"fc1": "act1", "fc2": "act2", "logits": ""}, (1, 28, 28))
    make("mlp_deep", Mlp(36, 48, 32, 24, 5), {"fc1": "act1", "fc3": "act3", "logits": ""}, (1, 6, 6))
