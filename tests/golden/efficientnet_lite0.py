"""Makes efficientnet_lite0.npz: the network in plain PyTorch, straight from the checkpoint's tensors.

python efficientnet_lite0.py efficientnet-lite0-57934424.pth efficientnet_lite0.npz

Every activation [1, channel, height, width] is kept as its mean, its mean absolute value, and every STEP-th value of
the flattened tensor; so is the gradient of one logit with respect to the input.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

LOGIT = 282
STAGES = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]  # blocks, stride of the first


def main(checkpoint, target):
    weights = {k: v.double() for k, v in torch.load(checkpoint, weights_only=True).items()}

    def conv(x, name, norm, stride=1, groups=1, relu6=True):
        w = weights[f"{name}.weight"]
        pads = []
        for size, kernel in ((x.shape[3], w.shape[3]), (x.shape[2], w.shape[2])):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, pads), w, stride=stride, groups=groups)
        part = [weights[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *part, training=False, eps=1e-3)
        return F.relu6(x) if relu6 else x

    i = torch.arange(3 * 224 * 224, dtype=torch.float64)
    x = torch.sin(0.37 * (i % 1013) + 0.0001 * i).float().double().reshape(1, 3, 224, 224).requires_grad_()
    kept = {}
    y = conv(x, "_conv_stem", "_bn0", stride=2)
    number = 0
    for count, first in STAGES:
        for at in range(count):
            stride, name, start = (first if at == 0 else 1), f"_blocks.{number}", y
            if f"{name}._expand_conv.weight" in weights:
                y = conv(y, f"{name}._expand_conv", f"{name}._bn0")
            y = conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=y.shape[1])
            y = conv(y, f"{name}._project_conv", f"{name}._bn2", relu6=False)
            if stride == 1 and y.shape[1] == start.shape[1]:
                y = y + start
            kept[f"blocks.{number}"] = y
            number += 1
    y = kept["head"] = conv(y, "_conv_head", "_bn1")
    logits = kept["logits"] = y.mean((2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]
    (kept["gradient"],) = torch.autograd.grad(logits[0, LOGIT], x)

    out = {}
    for name in ("blocks.4", "blocks.10", "head", "logits", "gradient"):
        values = kept[name].detach().flatten().numpy()
        step = 1 if name == "logits" else 97
        out[f"{name}.mean"] = np.array([values.mean(), np.abs(values).mean()])
        out[f"{name}.values"] = values[::step].astype(np.float32)
        print(name, tuple(kept[name].shape), out[f"{name}.mean"], out[f"{name}.values"].shape)
    np.savez(target, **out)


main(*sys.argv[1:])
