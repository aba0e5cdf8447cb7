"""Networks of zoo.py that torchvision lacks, by the parameter names of those who published them."""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benches"))
from vit import Vit


class Basic(nn.Module):
    def __init__(self, inside, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.stride, self.more = stride, out - inside

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return self.relu2(y + x)


class Cifar(nn.Module):
    """ResNet for small pictures with shortcuts of option A (He et al. 2016)."""

    def __init__(self, channels, blocks):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        inside = 16
        for stage in range(3):
            parts = []
            for i in range(blocks):
                parts.append(Basic(inside, 16 << stage, 2 if stage and not i else 1))
                inside = 16 << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*parts))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class VggMini(nn.Module):
    """Six convolutions of VGG for small pictures."""

    def __init__(self, channels, width):
        super().__init__()
        layers, inside = [], channels
        for stage in range(3):
            for _ in range(2):
                layers += [nn.Conv2d(inside, width << stage, 3, 1, 1), nn.ReLU()]
                inside = width << stage
            if stage < 2:
                layers.append(nn.MaxPool2d(2, 2))
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(inside, 10)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Same(nn.Conv2d):
    """TensorFlow's padding."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def same(inside, out, kernel, stride=1, groups=1):
    return Same(inside, out, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(out, eps=1e-3)


class LiteBlock(nn.Module):
    def __init__(self, inside, out, kernel, stride, expansion):
        super().__init__()
        wide = inside * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and inside == out
        if self.expands:
            self._expand_conv, self._bn0 = same(inside, wide, 1)
        self._depthwise_conv, self._bn1 = same(wide, wide, kernel, stride, wide)
        self._project_conv, self._bn2 = same(wide, out, 1)
        self.relu0, self.depthwise = nn.ReLU6(), nn.ReLU6()

    def forward(self, x):
        y = self.relu0(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._bn2(self._project_conv(self.depthwise(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.adds else y


class Lite(nn.Module):
    """EfficientNet-Lite."""

    STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192)]
    STAGES += [(1, 3, 1, 6, 320)]

    def __init__(self, width, depth):
        super().__init__()
        self._conv_stem, self._bn0 = same(3, 32, 3, 2)
        blocks, inside = [], 32
        for stage, (count, kernel, stride, expansion, out) in enumerate(self.STAGES):
            rounded = max(8, int(out * width + 4) // 8 * 8)
            out = rounded + 8 if rounded < 0.9 * out * width else rounded
            for i in range(count if stage in (0, 6) else math.ceil(depth * count)):
                blocks.append(LiteBlock(inside, out, kernel, 1 if i else stride, expansion))
                inside = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = same(inside, 1280, 1)
        self._fc = nn.Linear(1280, 1000)
        self.relu, self.relu_head = nn.ReLU6(), nn.ReLU6()

    def get_submodule(self, name):
        return super().get_submodule(f"_{name}" if name.startswith("blocks") else name)

    def forward(self, x):
        x = self.relu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(self.relu_head(self._bn1(self._conv_head(x))).mean((2, 3)))


def taps(inside, out, kernel, act=True):
    conv = nn.Conv1d(inside, out, kernel, padding="same", bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(out), *([nn.ReLU()] if act else []))


class Fcn(nn.Module):
    """Wang, Yan and Oates 2017, by tsai's names."""

    def __init__(self, channels):
        super().__init__()
        self.convblock1, self.convblock2, self.convblock3 = taps(channels, 128, 8), taps(128, 256, 5), taps(256, 128, 3)
        self.fc = nn.Linear(128, 2)

    def forward(self, x):
        return self.fc(self.convblock3(self.convblock2(self.convblock1(x.squeeze(2)))).mean(2))


class Resblock(nn.Module):
    def __init__(self, inside, out):
        super().__init__()
        self.convblock1, self.convblock2 = taps(inside, out, 8), taps(out, out, 5)
        self.convblock3 = taps(out, out, 3, False)
        self.shortcut = nn.BatchNorm1d(out) if inside == out else taps(inside, out, 1, False)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.convblock3(self.convblock2(self.convblock1(x))) + self.shortcut(x))


class Resnet1d(nn.Module):
    """The same paper's ResNet, by tsai's names."""

    def __init__(self, channels):
        super().__init__()
        self.resblock1, self.resblock2, self.resblock3 = Resblock(channels, 64), Resblock(64, 128), Resblock(128, 128)
        self.fc = nn.Linear(128, 2)

    def forward(self, x):
        return self.fc(self.resblock3(self.resblock2(self.resblock1(x.squeeze(2)))).mean(2))


class Mlp(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        self.layers = len(widths) - 1
        for i in range(self.layers):
            setattr(self, f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))
            setattr(self, f"act{i + 1}", nn.ReLU() if i + 1 < self.layers else nn.Identity())

    def forward(self, x):
        x = x.flatten(1)
        for i in range(self.layers):
            x = getattr(self, f"act{i + 1}")(getattr(self, f"fc{i + 1}")(x))
        return x


class Registers(Vit):
    """A ViT with four registers after the class token, and embeddings for 5x5 patches: by DINOv2's names, or by timm's, whose
    class token has no embedding."""

    def __init__(self, timm):
        super().__init__(128, 2, 2, 16, 5)
        self.timm, self.name = timm, "reg_token" if timm else "register_tokens"
        setattr(self, self.name, nn.Parameter(torch.zeros(1, 4, 128)))
        if timm:
            self.pos_embed = nn.Parameter(torch.zeros(1, 25, 128))

    def forward(self, x):
        x = self.patch_embed["proj"](x)
        side = x.shape[2]
        first, grid = (0, self.pos_embed) if self.timm else (self.pos_embed[:, :1], self.pos_embed[:, 1:])
        grid = grid.reshape(1, 5, 5, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True)
        x = (x + grid).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token + first, getattr(self, self.name), x], 1)
        return self.norm(self.blocks(x))[:, 0]
