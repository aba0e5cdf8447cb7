"""Writes legacy.pth: a small state dict in torch's legacy format, with a view of a shared storage."""
from collections import OrderedDict
from pathlib import Path

import torch

weight = torch.arange(6.0).reshape(2, 3) * 1.5
state = OrderedDict([("a.weight", weight), ("transposed", weight.t()), ("steps", torch.tensor(7))])
torch.save(state, Path(__file__).with_suffix(".pth"), _use_new_zipfile_serialization=False)
