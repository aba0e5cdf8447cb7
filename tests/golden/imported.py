"""Writes imported.npz: activations of two layers for three samples, with labels, masks and groups."""
from pathlib import Path

import numpy as np

masks = np.zeros((3, 2, 4, 4), dtype=bool)
masks[0, 0, :2, :2] = True
np.savez(
    Path(__file__).with_suffix(".npz"),
    **{
        "activations/early": np.arange(36, dtype=np.float32).reshape(3, 2, 2, 3) / 2,
        "activations/late": np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
        "labels": np.array([[1, 0], [-1, 1], [0, 0]], dtype=np.int8),
        "masks": masks,
        "groups": np.array([7, 7, -9]),
    },
)
