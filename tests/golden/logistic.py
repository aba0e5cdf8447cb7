"""Writes logistic.json: samples with weights and shares as labels, and scikit-learn's logistic regressions of them.

A sample whose label is the share m counts as two: one with the label 1 and m of its weight, one with the label 0 and the
rest. scikit-learn minimises C * sum w * loss + |v|^2 / 2, so C = 1 / lambda where the weights sum to one.
"""
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
x = np.round(rng.normal(size=(60, 5)) * [1, 1, 0.1, 0.1, 0.01], 4)
share = np.clip(np.round(0.5 + x[:, 0] + rng.normal(size=60), 1), 0, 1)
weight = rng.integers(1, 5, size=60).astype(float)
weight /= weight.sum()
lambdas = [1e-2, 1e-3, 1e-4]
fits = []
for ridge in lambdas:
    model = LogisticRegression(C=1 / ridge, tol=1e-14, max_iter=100000, solver="newton-cholesky")
    twice = np.concatenate([weight * share, weight * (1 - share)])
    model.fit(np.concatenate([x, x]), np.repeat([1, 0], 60), sample_weight=twice)
    fits.append(model.coef_[0].tolist() + model.intercept_.tolist())
values = {"x": x.ravel().tolist(), "share": share.tolist(), "weight": weight.tolist(), "lambdas": lambdas, "fits": fits}
Path(__file__).with_suffix(".json").write_text(json.dumps(values) + "\n")
