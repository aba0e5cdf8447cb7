"""Writes statistics.json: paired differences, p-values and rank correlations, and what scipy and statsmodels make of them."""
import json
from pathlib import Path

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(0)


def permuted(differences):
    """The exact two-sided p-value: every choice of signs."""
    test = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return {"differences": differences.tolist(), "p": float(test.pvalue)}


def holm(p):
    known = ~np.isnan(p)
    adjusted = np.full(len(p), np.nan)
    adjusted[known] = multipletests(p[known], method="holm")[1]
    return {"p": p.tolist(), "adjusted": adjusted.tolist()}


def ranked(x, y):
    return {"x": x.tolist(), "y": y.tolist(), "rho": float(stats.spearmanr(x, y).statistic)}


x = rng.normal(size=40)
z = np.array([0.0, 0.3, 1.0, 1.96, 2.5, 2.9, 4.0, 8.0, 20.0])
values = {
    "plain": permuted(rng.normal(0.4, 1, size=12)),
    "ties": permuted(np.round(rng.normal(0.1, 0.1, size=10), 1)),
    "zeros": permuted(np.array([0.0, 0.2, 0.0, 0.3, -0.1, 0.4, 0.2, 0.0])),
    "holm": holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005, 0.04, 0.9, 0.7, 0.01, 1.0, 0.0, np.nan])),
    "spearman": ranked(x, x + rng.normal(size=40)),
    "spearman_ties": ranked(np.round(x, 0), np.round(x + rng.normal(size=40), 0)),
    "normal": {"z": z.tolist(), "p": (2 * stats.norm.sf(z)).tolist()},
}
text = json.dumps(values, indent=1).replace("NaN", "null")
Path(__file__).with_suffix(".json").write_text(text + "\n")
