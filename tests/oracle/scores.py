#!/usr/bin/env python3
"""Compares metrics.json with scikit-learn on the maps and truth rasters themselves.

    tests/oracle/scores.py VIEW TRUTH_DIR      e.g. cache/landcover dset-s2-grunnkart/val_truth

VIEW is the folder of a pipeline in the cache. Truth is paired with maps by sorted name. Needs scikit-learn, rasterio.
"""
import json
import sys
from pathlib import Path

import numpy as np
import rasterio
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score, precision_score, recall_score

view, truth_dir = Path(sys.argv[1]), Path(sys.argv[2])
maps = sorted(view.glob("predict/*.tif"))
truths = sorted(truth_dir.glob("*.tif"))
assert len(maps) == len(truths) > 0, (len(maps), len(truths))
metrics = json.load(open(view / "evaluate" / "metrics.json"))


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1).ravel()


def compare(what, score, truth, mapped):
    keep = truth != 0
    truth, mapped = truth[keep], mapped[keep]
    labels = np.union1d(truth, mapped)
    assert labels.tolist() == score["labels"], (what, labels, score["labels"])
    worst = 0.0
    for name, function in dict(jaccard=jaccard_score, precision=precision_score, recall=recall_score, f1=f1_score).items():
        expected = function(truth, mapped, labels=labels, average=None, zero_division=0)
        found = [score[name][str(label)] for label in labels]
        worst = max(worst, np.abs(expected - found).max())
    worst = max(worst, abs(jaccard_score(truth, mapped, average="macro", zero_division=0) - score["mean"]))
    worst = max(worst, abs(accuracy_score(truth, mapped) - score["accuracy"]))
    worst = max(worst, abs(cohen_kappa_score(truth, mapped) - score["kappa"]))
    assert worst < 1e-12, (what, worst)
    return worst


pairs = [(read(t), read(m)) for t, m in zip(truths, maps)]
worst = max(compare(m.stem, metrics["scenes"][m.stem], t, p) for m, (t, p) in zip(maps, pairs))
truth, mapped = (np.concatenate(part) for part in zip(*pairs))
worst = max(worst, compare("all", metrics["all"], truth, mapped))
keep = truth != 0
majority = np.bincount(truth[keep]).argmax()
baseline = jaccard_score(truth[keep], np.full(keep.sum(), majority), average="macro", zero_division=0)
print(f"{len(maps)} maps, mean Jaccard {metrics['all']['mean']:.4f} (majority class alone: {baseline:.4f}), "
      f"greatest difference from scikit-learn {worst:.1e}")
assert metrics["all"]["mean"] > baseline
