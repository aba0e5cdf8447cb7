"""Writes car.json: two classes that no plane parts, and the decisions of scikit-learn's SVC with a Gaussian kernel.

libsvm keeps the kernel's values in single precision. So its solution only says which coefficients lie at a bound; the
others are those for which the margin is one, solved for in double precision. The decisions then move by less than 1e-4.
"""
import json
from pathlib import Path

import numpy as np
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC


def polished(model, x, y, gamma, cost):
    kernel = rbf_kernel(x, gamma=gamma)
    signed = np.zeros(len(x))
    signed[model.support_] = model.dual_coef_[0]
    free = (np.abs(signed) > 0) & (np.abs(signed) < cost * (1 - 1e-9))
    bound = ~free & (signed != 0)
    signed[bound] = cost * y[bound]
    ones = np.ones((free.sum(), 1))
    left = np.block([[kernel[np.ix_(free, free)], ones], [ones.T, np.zeros((1, 1))]])
    right = np.append(y[free] - kernel[np.ix_(free, bound)] @ signed[bound], -signed[bound].sum())
    solution = np.linalg.solve(left, right)
    signed[free], bias = solution[:-1], solution[-1]
    assert (signed * y >= 0).all() and (np.abs(signed) <= cost).all()
    decision = kernel @ signed + bias
    assert np.abs(decision - model.decision_function(x)).max() < 1e-4
    return decision


rng = np.random.default_rng(0)
x = np.round(rng.normal(size=(80, 4)), 4)
y = np.where((x**2).sum(axis=1) + 0.5 * rng.normal(size=80) > 3.5, 1.0, -1.0)
fits = []
for gamma in [1 / (4 * x.var()), 0.05, 2.0]:
    for cost in [0.5, 5.0, 100.0]:
        model = SVC(C=cost, gamma=gamma, tol=1e-10).fit(x, y)
        decision = polished(model, x, y, gamma, cost)
        fits.append({"gamma": gamma, "cost": cost, "decision": decision.tolist()})
golden = {"columns": 4, "x": x.ravel().tolist(), "y": y.tolist(), "fits": fits}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
