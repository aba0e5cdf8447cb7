"""Writes maximisation.json: kernel and Frechet distances between sets of features, neighbours, diversity and correlation."""
import json
from pathlib import Path

import numpy as np
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors


def kid(x, y):
    kernel = lambda a, b: polynomial_kernel(a, b, degree=3, gamma=1 / x.shape[1], coef0=1)
    within = lambda a: (kernel(a, a).sum() - np.trace(kernel(a, a))) / (len(a) * (len(a) - 1))
    return within(x) + within(y) - 2 * kernel(x, y).mean()


def frechet(x, y, dimensions):
    pca = PCA(dimensions, svd_solver="full").fit(y)
    x, y = pca.transform(x), pca.transform(y)
    a, b = np.cov(x.T).reshape(dimensions, -1), np.cov(y.T).reshape(dimensions, -1)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def case(rows, real, width, dimensions):
    y = np.round(rng.normal(size=(real, width)) * np.linspace(0.5, 2, width), 2)
    x = np.round(rng.normal(size=(rows, width)) * 0.7 + 0.5, 2)
    neighbours = NearestNeighbors(n_neighbors=2).fit(y).kneighbors
    return {
        "pictures": x.tolist(),
        "real": y.tolist(),
        "dimensions": dimensions,
        "kid": kid(x, y),
        "frechet": frechet(x, y, dimensions),
        "nearest": neighbours(x)[0][:, 0].tolist(),
        "between_neighbours": float(np.median(neighbours(y)[0][:, 1])),
        "diversity": pdist(x, "cosine").mean(),
        "correlation": np.corrcoef(x[:, 0], x[:, 1])[0, 1],
    }


rng = np.random.default_rng(0)
values = {"low": case(20, 30, 6, 3), "high": case(12, 15, 24, 4)}
Path(__file__).with_suffix(".json").write_text(json.dumps(values) + "\n")
