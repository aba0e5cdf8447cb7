"""Writes metrics.json: scores with ties, labels, weights, and what scikit-learn makes of them."""
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, balanced_accuracy_score, jaccard_score, roc_auc_score

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

# Maps of 5 x 6 pixels with ties; the last but one is constant, the last has no mask.
masks = rng.random((6, 30)) < 0.3
maps = np.round(rng.normal(size=(6, 30)) + masks, 1)
masks[5], maps[4] = False, 0.5
chosen = [np.argsort(-m, kind="stable")[: k.sum()] for m, k in zip(maps, masks)]
quantile = np.quantile(maps.astype(np.float32).astype(float), 0.9)
values["maps"] = {
    "width": 6,
    "maps": maps.tolist(),
    "masks": masks.tolist(),
    "auroc": [roc_auc_score(k, m) for m, k in zip(maps[:5], masks[:5])],
    "average_precision": [average_precision_score(k, m) for m, k in zip(maps[:5], masks[:5])],
    "iou_at_area": [jaccard_score(k, np.isin(np.arange(30), c)) for c, k in zip(chosen[:5], masks[:5])],
    "quantile": quantile,
    "set_iou": jaccard_score(masks.ravel(), (maps > quantile).ravel()),
    "set_iou_above_zero": jaccard_score(masks.ravel(), (maps > 0).ravel()),
    # The best of all thresholds.
    "best_set_iou": max(jaccard_score(masks.ravel(), (maps > t).ravel()) for t in np.unique(maps)),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
