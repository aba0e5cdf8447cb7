"""Writes metrics.json: scores with ties, labels, weights, and what scikit-learn makes of them."""
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

rng = np.random.default_rng(0)
present = rng.random(40) < 0.4
scores = np.round(rng.normal(size=40) + present, 1)
weights = rng.integers(0, 4, size=40).astype(float)
values = {
    "scores": scores.tolist(),
    "present": present.tolist(),
    "weights": weights.tolist(),
    "auroc": roc_auc_score(present, scores),
    "auroc_weighted": roc_auc_score(present, scores, sample_weight=weights),
    "average_precision": average_precision_score(present, scores),
    "average_precision_weighted": average_precision_score(present, scores, sample_weight=weights),
    "balanced_accuracy": balanced_accuracy_score(present, scores > 0),
    "balanced_accuracy_weighted": balanced_accuracy_score(present, scores > 0, sample_weight=weights),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
