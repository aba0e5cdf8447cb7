"""Writes opinions.npz: a small network, a score of its second layer, and what Captum and PyTorch say of where it comes
from. Everything in f64; Grad-CAM++, XGrad-CAM and LayerCAM, which Captum lacks, by their formulas from PyTorch's
gradient."""
from pathlib import Path

import numpy as np
import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    Occlusion,
)
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def rounded(tensor):
    return tensor.detach().float().double()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.pool = nn.AvgPool2d(2)
        for parameter in self.parameters():
            parameter.data = rounded(parameter.data * 2)
        self.weights = rounded(torch.randn(6 * 6 * 6) / 10)

    def forward(self, x):
        return (self.pool(self.second(self.first(x))).flatten(1) * self.weights).sum(1)


net = Net()
x = rounded(torch.randn(2, 3, 12, 12))
mean = x.mean((2, 3), keepdim=True).expand_as(x)
out = {"x": x, "weights": net.weights, "scores": net(x), "scores.mean": net(mean)}
for name, parameter in net.named_parameters():
    out[name] = parameter

first = net.first[1]
a = net.first(x).detach().requires_grad_()
(net.pool(net.second(a)).flatten(1) * net.weights).sum().backward()
g, a = a.grad, a.detach()
total = a.sum((2, 3), keepdim=True)
alpha = g**2 / (2 * g**2 + total * g**3)
alpha[g == 0] = 0
out["grad_cam"] = LayerGradCam(net, first).attribute(x, relu_attributions=False)
out["hires_cam"] = LayerGradientXActivation(net, first).attribute(x).sum(1)
out["layer_cam"] = (g.clamp(min=0) * a).sum(1)
out["xgrad_cam"] = ((g * a).sum((2, 3), keepdim=True) / total * a).sum(1)
out["grad_cam_plus"] = ((alpha * g.clamp(min=0)).sum((2, 3), keepdim=True) * a).sum(1)
out["gradient_input"] = InputXGradient(net).attribute(x.clone().requires_grad_()).sum(1)
# Captum counts points where we count steps between them, and its weights sum to 50/51.
found = IntegratedGradients(net).attribute(x, baselines=mean, n_steps=51, method="riemann_trapezoid")
out["integrated_gradients"] = found.sum(1) * 51 / 50
out["occlusion"] = Occlusion(net).attribute(x, sliding_window_shapes=(3, 4, 4), strides=(3, 2, 2), baselines=mean)[:, 0]
arrays = {name: value.detach().numpy().astype(np.float32).ravel() for name, value in out.items()}
np.savez(Path(__file__).with_suffix(".npz"), **arrays)
