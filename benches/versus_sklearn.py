#!/usr/bin/env python3
"""Fits the same probes to the same activations by cavern, scikit-learn and Captum, and prints how long they take.

    python3 benches/versus_sklearn.py                            40 concepts, 1,000 samples, d = 2048, 15680 and 100352
    python3 benches/versus_sklearn.py --widths 2048 --markdown   the table of docs/performance.md
    python3 benches/versus_sklearn.py --memory                   peak memory at d = 802,816 and 2,000 samples

Kinds with a ridge choose it out of 9 by 5 folds and are then fitted to all samples: 46 fits a concept; the others need
one. cavern makes all of them, from activations on disk. The peers have theirs in memory, as f32, centred and scaled
beforehand; for each of their kinds some fits are timed, at the strongest, the middle and the weakest ridge, and their mean
is multiplied by the number of fits. scikit-learn's solvers stop at their default tolerances (cavern's: a gradient of 1e-9);
its discriminant needs a d x d covariance and is left out where that is beyond memory. Captum's classifier is its
`DefaultClassifier`, which chooses no ridge: one fit, times those of a kind with 9.

`cosine` is that of cavern's direction of the first concept with scikit-learn's at the ridge cavern chose, solved to 1e-9.
Where a sample has more features than there are samples, that one solution is sought in coordinates of the samples' span
(by numpy's `eigh`), which keep every inner product: at d = 100,352 liblinear would need hours for it. The timed fits all
see the features themselves.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

try:
    import numpy as np
    import sklearn
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.svm import LinearSVC
    from versus_pytorch import Side, build, machine
except ImportError as error:
    print(f"versus_sklearn.py: {error}\nhelp: pip install numpy scikit-learn torch torchvision captum", file=sys.stderr)
    sys.exit(2)

LAMBDAS = [10.0**e for e in range(-4, 5)]
FOLDS = 5
KINDS = ["classifier", "ridge", "svm", "mean_difference", "fast_cav", "lda"]
WITH_RIDGE = KINDS[:3]
# The widest layer whose covariance scikit-learn's discriminant is asked to factor.
WIDEST_COVARIANCE = 4096


def world(n, d, concepts, seed=0):
    """Activations as a ReLU leaves them, of falling spectrum, and concepts that some of their factors show."""
    rng = np.random.default_rng(seed)
    rank = 128
    factors = rng.normal(size=(n, rank)).astype(np.float32)
    loadings = rng.normal(size=(rank, d)).astype(np.float32) / np.arange(1, rank + 1, dtype=np.float32)[:, None] ** 0.5
    x = factors @ loadings
    for row in x:
        row += rng.normal(size=d).astype(np.float32)
    np.maximum(x, 0, out=x)
    shown = factors @ rng.normal(size=(rank, concepts)).astype(np.float32) + 4 * rng.normal(size=(n, concepts))
    # As many samples with a concept as without it.
    return x, (shown > np.median(shown, axis=0)).astype(np.uint8)


def peer(kind, x, label, ridge, exact=False):
    """Fits one probe by scikit-learn; its weights."""
    n = len(x)
    if kind == "classifier":
        accuracy = {"tol": 1e-9, "max_iter": 100_000} if exact else {"max_iter": 1000}
        return LogisticRegression(C=1 / (ridge * n), **accuracy).fit(x, label).coef_[0]
    if kind == "ridge":
        return Ridge(alpha=ridge * n).fit(x, 2.0 * label - 1).coef_.ravel()
    if kind == "svm":
        accuracy = {"tol": 1e-9, "max_iter": 100_000, "intercept_scaling": 10} if exact else {}
        return LinearSVC(C=0.5 / (ridge * n), **accuracy).fit(x, label).coef_[0]
    if kind == "lda":
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, label).coef_[0]
    reference = x.mean(axis=0) if kind == "fast_cav" else x[label == 0].mean(axis=0)
    return x[label == 1].mean(axis=0) - reference


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peers(x, labels, sample):
    """Seconds of one fit by kind: the mean over ridges and concepts."""
    n = len(x)
    rest = np.arange(n) % FOLDS != 0
    train = x[rest]
    times = {}
    for kind in KINDS:
        if kind == "lda" and x.shape[1] > WIDEST_COVARIANCE:
            continue
        ridges = [LAMBDAS[8], LAMBDAS[4], LAMBDAS[0]] if kind in WITH_RIDGE else [1.0]
        fits = [(r, c) for r in ridges for c in range(sample)]
        taken = []
        for ridge, concept in fits:
            taken.append(seconds(lambda: peer(kind, train, labels[rest, concept], ridge)))
            print(f"d = {x.shape[1]:,}: {kind} at ridge {ridge:g} took {taken[-1]:.2f} s", file=sys.stderr)
        times[kind] = statistics.mean(taken)
    return times


def captum(x, labels):
    """Seconds of one fit by Captum's classifier, without the third of the samples that it tests on."""
    import torch
    from captum.concept._utils.classifier import DefaultClassifier
    from torch.utils.data import DataLoader, TensorDataset

    # 1.5 times 80 % of the samples, so that two thirds of them are those of a fold.
    rows = np.arange(int(1.2 * len(x))) % len(x)
    data = TensorDataset(torch.from_numpy(x[rows]), torch.from_numpy(labels[rows, 0].astype(np.int64)))
    return seconds(lambda: DefaultClassifier().train_and_eval(DataLoader(data, batch_size=len(rows))))


def solution(kind, x, label, ridge):
    """The optimum that scikit-learn finds, by way of the samples' span where that is the smaller space."""
    n, d = x.shape
    if d <= n or kind not in WITH_RIDGE:
        return peer(kind, x, label, ridge, exact=True)
    gram = np.zeros((n, n))
    for start in range(0, d, 4096):
        block = x[:, start : start + 4096].astype(np.float64)
        gram += block @ block.T
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-10 * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    coordinates = vectors * np.sqrt(values)
    return x.T @ (vectors @ (peer(kind, coordinates, label, ridge, exact=True) / np.sqrt(values)))


def compare(side, d, options, folder):
    x, labels = world(options.samples, d, options.concepts)
    shards = folder / f"shards-{d}"
    shards.mkdir()
    np.save(folder / "x.npy", x)
    np.save(folder / "labels.npy", labels)
    side.ask("import", folder / "x.npy", shards)
    (folder / "x.npy").unlink()
    lambdas, out = ",".join(map(str, LAMBDAS)), folder / "directions.npy"
    told = side.ask("solve", shards, folder / "labels.npy", lambdas, FOLDS, out)
    ours = dict(zip(told[::2], map(float, told[1::2])))
    directions = dict(zip(KINDS, np.load(out)))
    x -= x.mean(axis=0)
    x /= np.sqrt((x**2).sum(axis=1).mean())
    theirs = peers(x, labels, options.sample)
    cosines = {}
    for kind in theirs:
        wanted = solution(kind, x, labels[:, 0], directions[kind][-1])
        cosines[kind] = float(directions[kind][:-1] @ wanted / np.linalg.norm(wanted))
    return ours, theirs, cosines, captum(x, labels) if options.captum else None


def show(d, result, options):
    ours, theirs, cosines, captum_seconds = result
    fits = {k: options.concepts * (FOLDS * len(LAMBDAS) + 1 if k in WITH_RIDGE else 1) for k in KINDS}
    rows = []
    for kind in KINDS:
        known = kind in theirs
        each, total = (theirs[kind], theirs[kind] * fits[kind]) if known else (float("nan"), float("nan"))
        timed = options.sample * (3 if kind in WITH_RIDGE else 1)
        ratio = f"{total / ours[kind]:.1f}x" if known else ""
        cosine = f"{cosines[kind]:.6f}" if known else "d x d too large"
        rows.append([kind, fits[kind], timed if known else "", f"{1e3 * each:.1f} ms" if known else "",
                     f"{total:.1f} s" if known else "", f"{ours[kind]:.2f} s", ratio, cosine])
    rows.append(["Gram matrix, coordinates", "", "", "", "", f"{ours['space']:.2f} s", "", ""])
    whole, peer_total = sum(ours.values()), sum(theirs[k] * fits[k] for k in theirs)
    # What the peer cannot do is no part of the ratio.
    comparable = whole - sum(ours[k] for k in KINDS if k not in theirs)
    rows.append(["all", sum(fits.values()), "", "", f"{peer_total:.1f} s", f"{whole:.2f} s",
                 f"{peer_total / comparable:.1f}x", ""])
    if captum_seconds is not None:
        total = captum_seconds * fits["svm"]
        rows.append(["svm against Captum's", fits["svm"], 1, f"{1e3 * captum_seconds:.1f} ms", f"{total:.1f} s",
                     f"{ours['svm'] + ours['space']:.2f} s", f"{total / (ours['svm'] + ours['space']):.1f}x", ""])
    head = ["kind", "fits", "of the peer timed", "a fit", "scaled up", "cavern", "ratio", "cosine"]
    print(f"\nd = {d:,}\n")
    separator = " | " if options.markdown else "  "
    for i, row in enumerate([head, *rows]):
        cells = separator.join(str(c).ljust(26 if j == 0 else 12) for j, c in enumerate(row))
        print(f"| {cells} |" if options.markdown else cells.rstrip())
        if options.markdown and i == 0:
            print("|" + "---|" * len(head))


def main():
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--widths", type=int, nargs="+", default=[2048, 15_680, 100_352], metavar="D")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--concepts", type=int, default=40)
    parser.add_argument("--sample", type=int, default=2, help="concepts whose fits are timed for the peers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="only the memory run")
    parser.add_argument("--no-captum", dest="captum", action="store_false")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    parser.add_argument("--binary", type=Path, help="the built benchmark [default: cargo builds it]")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)
    binary = options.binary or build("gram")
    with tempfile.TemporaryDirectory() as name, Side([str(binary)], options.threads) as side:
        folder = Path(name)
        if options.memory:
            told = side.ask("memory", folder, 2000, 256, 56, 56, options.concepts)
            print(f"d = 802,816, n = 2,000, {options.concepts} concepts: peak {int(told[0]) / 1e9:.2f} GB, {float(told[2]):.0f} s")
            return
        print(f"{machine(options.threads)}, scikit-learn {sklearn.__version__}, {options.samples} samples, {options.concepts} concepts")
        for d in options.widths:
            show(d, compare(side, d, options, folder), options)


if __name__ == "__main__":
    main()
