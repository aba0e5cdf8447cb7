#!/usr/bin/env python3
"""Lucent's `diversity` (torch-lucent 0.1.8) and its gradient on given activations, in f64: makes diversity.json.

    pip install torch torch-lucent
    python3 -P tests/golden/diversity.py     (-P: the module `statistics` is Python's)
"""

import json
from pathlib import Path

import torch
from lucent.optvis import objectives

SHAPE = (4, 5, 3, 2)


def main():
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.relu(noise + 0.3).requires_grad_()
    value = objectives.diversity("layer")(lambda _: z)
    value.backward()
    out = {"shape": SHAPE, "z": z.flatten().tolist(), "value": value.item(), "gradient": z.grad.flatten().tolist()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
