"""How far the numbers of two runs of one study lie apart, as a Markdown table.

python3 benches/compare_metrics.py RUN/metrics.csv OTHER/metrics.csv

For every metric: rows, mean and largest change of a value, for shares of samples the largest change times the number of
samples, and the mean half-width of the 95 % intervals: what the choice of samples alone moves a value by.
"""

import csv
import sys
from collections import defaultdict

KEY = ("layer", "concept", "probe", "variant", "seed", "split", "metric", "parameter")
SHARES = ("accuracy", "sensitivity", "specificity", "hard_h")


def read(path):
    with open(path, newline="") as file:
        return {tuple(row[k] for k in KEY): row for row in csv.DictReader(file)}


def number(text):
    return float(text) if text else float("nan")


def main(first, second):
    first, second = read(first), read(second)
    if first.keys() != second.keys():
        print(f"{len(first.keys() ^ second.keys())} rows stand in one of the two only")
    changes, samples, widths = defaultdict(list), defaultdict(float), defaultdict(list)
    for key in first.keys() & second.keys():
        a, b = first[key], second[key]
        metric, change = a["metric"], abs(number(a["value"]) - number(b["value"]))
        if change == change:
            changes[metric].append(change)
        if metric.startswith(SHARES) and change == change:
            samples[metric] = max(samples[metric], change * number(a["n"]))
        if a["ci_low"] and a["ci_high"]:
            widths[metric].append((number(a["ci_high"]) - number(a["ci_low"])) / 2)
    print("| metric | rows | mean change | largest | in samples | interval's half-width |\n|---|---|---|---|---|---|")
    for metric, values in sorted(changes.items()):
        count = f"{samples[metric]:.1f}" if metric in samples else ""
        half = f"{sum(widths[metric]) / len(widths[metric]):.4f}" if widths[metric] else ""
        mean = sum(values) / len(values)
        print(f"| `{metric}` | {len(values)} | {mean:.5f} | {max(values):.4f} | {count} | {half} |")


main(*sys.argv[1:3])
