#!/usr/bin/env python3
"""Logistic regressions of scikit-learn on standardised features, and with balanced class weights: makes fits.json.

    pip install numpy scikit-learn
    python3 -P tests/golden/fits.py     (-P: the module `statistics` is Python's)
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

LAMBDA = 1e-2


def fit(x, y, **options):
    model = LogisticRegression(C=1 / (LAMBDA * len(y)), tol=1e-12, max_iter=100_000, **options).fit(x, y)
    return model.coef_[0], model.intercept_[0]


def mean_square(x):
    """cavern scales centred activations to unit mean square norm before it applies a ridge."""
    return np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())


def main():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 6)) * [0.1, 1, 3, 10, 0.5, 2] + [1, 0, 5, -3, 0, 2]).astype(np.float32)
    y = (x[:, 1] + x[:, 2] / 3 - 5 / 3 + rng.normal(size=40) > 0.6).astype(int)
    out = {"x": x.ravel().tolist(), "label": y.tolist(), "lambda": LAMBDA}
    wide = x.astype(np.float64)
    for name, scaler in (("zscore", StandardScaler()), ("max", MaxAbsScaler())):
        z = scaler.fit_transform(wide)
        scale = mean_square(z)
        w, b = fit(z / scale, y, class_weight="balanced")
        w = w / scale / scaler.scale_
        offset = b - (w @ scaler.mean_ if name == "zscore" else 0.0)
        out[name] = [*w, offset]
    scale = mean_square(wide)
    w, b = fit(wide / scale, y, class_weight="balanced")
    out["balanced"] = [*(w / scale), b]
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(out) + "\n")
    print(y.mean(), {k: v for k, v in out.items() if k in ("zscore", "max", "balanced")})


if __name__ == "__main__":
    main()
