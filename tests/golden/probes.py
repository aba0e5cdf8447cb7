"""Writes probes.json: weighted samples with labels, and scikit-learn's ridge regressions, linear SVMs and discriminants.

Ridge: sum w (s - t)^2 / 2 + lambda/2 |v|^2 with t = +-1 is half of what `Ridge` minimises with alpha = lambda; neither
has a ridge on the intercept. SVM: sum w max(0, 1 - t s)^2 / 2 + lambda/2 |v|^2 is lambda times what `LinearSVC`
minimises with C = 1 / (2 lambda), but that has a ridge on the intercept too, in units of `intercept_scaling`: 1000 makes
it a millionth of what it was, and the gradient of our objective at its solutions stays below 5e-8. Discriminants: `lsqr` shrinks the covariance of each class towards its own sphere and
weighs the classes by their priors, which is the shrunk mean covariance. Ledoit and Wolf's shrinkage is that of the
samples less their class's mean; scikit-learn knows no weights, so it is only there where both classes have as many.
"""
import json
from pathlib import Path

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC


def fits(n, columns, positives, seed):
    rng = np.random.default_rng(seed)
    label = np.arange(n) < positives
    rng.shuffle(label)
    x = rng.normal(size=(n, columns)) * rng.choice([1, 0.5, 0.1], size=columns)
    x = np.round(x + 0.8 * label[:, None] * rng.normal(size=columns) / np.sqrt(columns) + 0.2, 4)
    weight = rng.integers(1, 5, size=n).astype(float)
    weight /= weight.sum()
    sign = np.where(label, 1.0, -1.0)
    lambdas, shrinkages = [1e-1, 1e-2, 1e-3], [0.9, 0.3, 0.05]

    def joined(model, *args, **kwargs):
        model.fit(x, *args, **kwargs)
        return np.ravel(model.coef_).tolist() + np.ravel(model.intercept_).tolist()

    ridge = [joined(Ridge(alpha=a, solver="cholesky"), sign, sample_weight=weight) for a in lambdas]
    svm = [
        joined(
            LinearSVC(C=0.5 / a, loss="squared_hinge", dual=False, tol=1e-12, intercept_scaling=1000, max_iter=10**6),
            sign,
            sample_weight=weight,
        )
        for a in lambdas
    ]
    lda = [
        joined(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s, priors=[0.5, 0.5]), label) for s in shrinkages
    ]
    centred = x.copy()
    for of in [label, ~label]:
        centred[of] -= x[of].mean(axis=0)
    equal = positives * 2 == n
    return {
        "columns": columns,
        "x": x.ravel().tolist(),
        "label": label.astype(float).tolist(),
        "weight": weight.tolist(),
        "lambdas": lambdas,
        "ridge": ridge,
        "svm": svm,
        "shrinkages": shrinkages,
        "lda": lda,
        "ledoit_wolf": float(ledoit_wolf_shrinkage(centred, assume_centered=True)) if equal else None,
    }


values = [fits(60, 5, 30, 0), fits(61, 6, 20, 1), fits(20, 40, 10, 2)]
Path(__file__).with_suffix(".json").write_text(json.dumps(values) + "\n")
