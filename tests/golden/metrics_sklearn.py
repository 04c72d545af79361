"""Scores of scikit-learn on random and adversarial label arrays: the oracle of tests/metrics_sklearn.rs.

    python tests/golden/metrics_sklearn.py > tests/golden/metrics_sklearn.json

With `--cases N --seed S --pixels P` it makes a bigger set; the test reads it from the file that the environment variable
S2PIPE_METRICS_GOLDEN names.
"""

import argparse
import json
import math
import sys
import warnings

import numpy as np
import sklearn
from sklearn import metrics

AVERAGES = {"none": None, "macro": "macro", "micro": "micro", "weighted": "weighted"}
RATES = {
    "jaccard": metrics.jaccard_score,
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "f1": metrics.f1_score,
}


def plain(value):
    """NaN has no JSON: null stands for it."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    return None if math.isnan(value) else float(value)


def case(name, truth, prediction, ignore=None, labels=None, zero_division=0.0):
    truth, prediction = np.asarray(truth, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    keep = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    kept, guessed = truth[keep], prediction[keep]
    record = {
        "name": name,
        "truth": truth.tolist(),
        "prediction": prediction.tolist(),
        "ignore": ignore,
        "labels": labels,
        "zero_division": zero_division,
        "present": sorted(set(kept.tolist()) | set(guessed.tolist())),
        "raises": kept.size == 0,
    }
    if kept.size == 0:
        try:
            metrics.jaccard_score(kept, guessed, average="macro")
        except ValueError:
            return record
        raise SystemExit("scikit-learn scores empty input now: revise what the Rust side documents")
    for rate, function in RATES.items():
        record[rate] = {
            key: plain(function(kept, guessed, labels=labels, average=average, zero_division=zero_division))
            for key, average in AVERAGES.items()
        }
    record["accuracy"] = plain(metrics.accuracy_score(kept, guessed))
    record["kappa"] = plain(metrics.cohen_kappa_score(kept, guessed))
    if labels is None or set(labels) & set(kept.tolist()):
        record["confusion"] = metrics.confusion_matrix(kept, guessed, labels=labels).tolist()
    return record


def adversarial():
    yield case("all right", [1, 2, 3, 3], [1, 2, 3, 3])
    yield case("all wrong", [1, 1, 2, 2], [2, 2, 1, 1])
    yield case("one class, right", [4] * 5, [4] * 5)
    yield case("one class, wrong", [4] * 5, [5] * 5)
    yield case("one pixel", [7], [7])
    yield case("in truth, never predicted", [1, 1, 2, 5], [1, 1, 2, 2])
    yield case("predicted, not in truth", [1, 1, 2, 2], [1, 1, 2, 6])
    yield case("prediction holds the ignored label", [0, 1, 2, 2], [1, 0, 2, 2], ignore=0)
    yield case("ignored truth takes its prediction along", [0, 0, 1, 2], [9, 9, 1, 2], ignore=0)
    yield case("only one label left", [0, 0, 3, 3], [1, 2, 3, 3], ignore=0)
    yield case("all ignored", [0, 0, 0], [1, 2, 3], ignore=0)
    yield case("all ignored, labels given", [0, 0, 0], [1, 2, 3], ignore=0, labels=[1, 2])
    yield case("empty", [], [])
    for zero in (0.0, 1.0):
        yield case(f"absent label asked for, 0/0 is {zero}", [1, 2, 2], [1, 2, 1], labels=[1, 2, 9], zero_division=zero)
        yield case(f"only absent labels, 0/0 is {zero}", [1, 2, 2], [1, 2, 1], labels=[8, 9], zero_division=zero)
        yield case(f"label only predicted, 0/0 is {zero}", [1, 1, 1], [1, 2, 2], labels=[2], zero_division=zero)
        yield case(f"no label, 0/0 is {zero}", [1, 2, 2], [1, 2, 1], labels=[], zero_division=zero)
    yield case("labels in reverse", [1, 2, 3, 3], [1, 3, 3, 2], labels=[3, 2, 1])
    yield case("subset of labels", [1, 2, 3, 3, 1], [1, 3, 3, 2, 2], labels=[1, 3])
    yield case("negative and large labels", [-7, 70000, 300, 300], [300, 70000, 300, -7])
    yield case("255 is a label like any", [255, 255, 0, 1], [255, 0, 0, 1], ignore=1)


def random(count, pixels, seed):
    rng = np.random.default_rng(seed)
    for index in range(count):
        pool = np.sort(rng.choice(12, size=rng.integers(1, 9), replace=False))
        share = rng.dirichlet(np.full(pool.size, 0.4))
        n = int(rng.integers(1, pixels + 1))
        truth = rng.choice(pool, size=n, p=share)
        right = rng.random(n) < rng.random()
        prediction = np.where(right, truth, rng.choice(12, size=n))
        labels = None
        if rng.random() < 0.4:
            labels = rng.permutation(14)[: rng.integers(1, 10)].tolist()
        yield case(
            f"random {index}",
            truth,
            prediction,
            ignore=0 if rng.random() < 0.5 else None,
            labels=labels,
            zero_division=float(rng.integers(0, 2)),
        )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cases", type=int, default=40)
    arguments.add_argument("--pixels", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=2)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    cases = [*adversarial(), *random(options.cases, options.pixels, options.seed)]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in cases)
    sys.stdout.write(f'{{"scikit_learn":"{sklearn.__version__}","cases":[\n{lines}\n]}}\n')


main()
