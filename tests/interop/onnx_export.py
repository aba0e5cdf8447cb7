"""Exports torchvision's networks by both of PyTorch's exporters and compares cavern with PyTorch on each.

python tests/interop/onnx_export.py [NAME...]     needs torch, torchvision, onnx, onnxscript

VERSUS may be the path of a built `benches/versus.rs`.

The weights are random, of one seed; BatchNorm's statistics too, so that folding has something to do. Compared are the
output and the gradient of its sum to the input, for a batch of two. Exports are for a batch of one ("stock", what
`torch.onnx.export(model, x, path)` does) and for a free batch. The figure is the largest difference over the largest
value of PyTorch's f64; beside it is that of PyTorch's own f32. Non-linearities and poolings have kinks where f32 may take
the other side: norms keep units away from the former, but among a million pooled windows there always are some whose
two largest values are one in f32, each of which moves the gradient of all it sees. `apart` is the share of entries that
differ by more than 1e-4 of the largest; a gradient agrees if it is a thousandth, or at most twice that of PyTorch's f32.
`vgg11_bn_mean` is vgg11_bn with means for maxima: it has no such kinks, and has to agree everywhere.
"""

import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import torchvision

NAMES = ["resnet18", "vgg11_bn", "vgg11_bn_mean", "mobilenet_v2", "convnext_tiny", "vit_b_16"]
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Cavern:
    """`benches/versus.rs` behind a pipe."""

    def __init__(self):
        binary = os.environ.get("VERSUS")
        if not binary:
            build = ["cargo", "bench", "--no-run", "--bench", "versus"]
            said = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True).stderr
            binary = said.rsplit("(", 1)[1].split(")")[0]
        self.pipe = subprocess.Popen(
            [os.path.join(ROOT, binary)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words):
        print(*words, file=self.pipe.stdin, flush=True)
        answer = self.pipe.stdout.readline().strip()
        if answer.startswith("error"):
            raise RuntimeError(answer)

    def run(self, what, folder, layer):
        out = os.path.join(folder, "y.npy")
        self.ask(what, os.path.join(folder, "x.npy"), out, layer, 0)
        return np.load(out)


def network(name):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name.removesuffix("_mean"))(weights=None).eval()
    if name.endswith("_mean"):
        pools = [isinstance(part, torch.nn.MaxPool2d) for part in model.features]
        model.features = torch.nn.Sequential(
            *(torch.nn.AvgPool2d(2) if pool else part for pool, part in zip(pools, model.features))
        )
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            # Away from the kinks that follow, up or down: at a kink f32 and f64 may take different sides.
            part.bias.data = 5 * torch.sign(torch.randn_like(part.bias))
    # Their last layers start at zero, which would hide everything before.
    if name == "vit_b_16":
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)
        torch.nn.init.normal_(model.heads.head.bias, std=0.02)
    return model


def reference(model, x):
    x = x.clone().requires_grad_()
    y = model(x)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


def export(model, path, dynamo, free):
    x = torch.randn(2 if free else 1, 3, 224, 224)
    kind = {"dynamo": dynamo, "input_names": ["input"], "output_names": ["output"]}
    if free and dynamo:
        kind["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif free:
        kind["dynamic_axes"] = {"input": {0: "batch"}, "output": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), path, verbose=False, **kind)


def off(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def apart(a, b):
    return (np.abs(a - b) > 1e-4 * np.abs(b).max()).mean()


def main():
    cavern = Cavern()
    print(f"{'network':14} {'exporter':8} {'batch':6} {'output':>9} {'gradient':>9} {'apart':>8}   PyTorch f32: {'output':>7} {'gradient':>9} {'apart':>8}")
    agree = True
    for name in sys.argv[1:] or NAMES:
        model = network(name)
        torch.manual_seed(1)
        x = torch.randn(2, 3, 224, 224)
        single = reference(model, x)
        exact = reference(network(name).double(), x.double())
        own = [off(a, b) for a, b in zip(single, exact)] + [apart(single[1], exact[1])]
        for dynamo in (False, True):
            for free in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, "net.onnx")
                    export(model, path, dynamo, free)
                    np.save(os.path.join(folder, "x.npy"), x.numpy())
                    cavern.ask("load", path, "-", "f32")
                    found = [cavern.run(what, folder, "output") for what in ("forward", "gradient")]
                figures = [off(a, b) for a, b in zip(found, exact)] + [apart(found[1], exact[1])]
                agree &= figures[0] < 1e-4 and figures[2] <= max(1e-3, 2 * own[2])
                exporter, batch = "dynamo" if dynamo else "legacy", "free" if free else "one"
                print(
                    f"{name:14} {exporter:8} {batch:6} {figures[0]:9.1e} {figures[1]:9.1e} {figures[2]:8.1e}"
                    f" {own[0]:22.1e} {own[1]:9.1e} {own[2]:8.1e}",
                    flush=True,
                )
    print("all agree" if agree else "THEY DIFFER")


if __name__ == "__main__":
    main()
