"""Writes welch.json: Welch's t-test and the tails of Student's t, by scipy."""
import json
from pathlib import Path

import numpy as np
from scipy.stats import t as student
from scipy.stats import ttest_ind

rng = np.random.default_rng(0)
lists = [
    (rng.normal(0.6, 0.1, 30), rng.normal(0.5, 0.3, 30)),
    (rng.normal(0.0, 1.0, 12), rng.normal(0.0, 1.0, 40)),
    (np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 3.0, 4.0, 5.0])),
    (np.array([0.0, 1.0]), np.array([0.5, 7.0])),
    (np.full(10, 0.5), rng.normal(0.4, 0.2, 10)),
    (np.round(rng.random(30), 1), np.round(rng.random(25), 1)),
    (rng.normal(5.0, 0.01, 50), rng.normal(1.0, 0.01, 50)),
    (rng.normal(0.0, 1.0, 300), rng.normal(0.2, 2.0, 200)),
]
tests = []
for a, b in lists:
    found = ttest_ind(a, b, equal_var=False)
    tests.append(
        {"a": a.tolist(), "b": b.tolist(), "t": float(found.statistic), "df": float(found.df), "p": float(found.pvalue)}
    )
tails = [
    [t, df, float(2 * student.sf(t, df))]
    for t in [0.0, 1e-6, 0.3, 1.0, 2.5, 12.0, 40.0]
    for df in [1.0, 1.7, 4.0, 29.3, 58.0, 1000.0]
]
Path(__file__).with_suffix(".json").write_text(json.dumps({"tests": tests, "tails": tails}) + "\n")
