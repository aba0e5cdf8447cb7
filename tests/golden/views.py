"""Writes views.json: colours, and what torchvision makes of them."""
import json
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as F

torch.manual_seed(0)
colours = torch.rand(3, 4, 4)
colours[:, 0, 0] = 0.5
values = {"colours": colours.flatten().tolist()}
for factor in [0.0, 0.6, 1.4]:
    values[f"saturation {factor:g}"] = F.adjust_saturation(colours, factor).flatten().tolist()
for turns in [-0.25, 0.05, 0.5]:
    values[f"hue {turns:g}"] = F.adjust_hue(colours, turns).flatten().tolist()
Path(__file__).with_suffix(".json").write_text(json.dumps(values) + "\n")
