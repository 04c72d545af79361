#!/usr/bin/env python3
"""Scoring a map of a whole Sentinel-2 tile with `s2pipe score`, beside scikit-learn on the arrays in memory.

    benches/score.py [SIDE] [ROUNDS]           SIDE is 10980 unless given

Ours is a whole process that reads both GeoTIFFs (Deflate, tiles of 256 px); scikit-learn's time is that of `jaccard_score`
alone, without reading.
Fails where the scores differ by more than 1e-12. Needs numpy, rasterio, scikit-learn.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import rasterio
from sklearn.metrics import jaccard_score

side = int(sys.argv[1]) if len(sys.argv) > 1 else 10980
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
binary = pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "s2pipe"
random = np.random.default_rng(1)
# Fields of 20 px, a few pixels without a label, and a map that is wrong in one pixel of eight.
fields = random.integers(1, 7, (side // 20 + 1, side // 20 + 1), dtype=np.uint8)
truth = np.kron(fields, np.ones((20, 20), np.uint8))[:side, :side]
truth[random.random((side, side), dtype=np.float32) < 0.01] = 0
mapped = np.where(random.random((side, side), dtype=np.float32) < 0.125, np.roll(truth, 7, axis=0), truth)
mapped[mapped == 0] = 1
with tempfile.TemporaryDirectory() as folder:
    paths = [f"{folder}/truth.tif", f"{folder}/map.tif"]
    for path, values in zip(paths, [truth, mapped]):
        profile = dict(driver="GTiff", width=side, height=side, count=1, dtype="uint8", compress="deflate", tiled=True)
        with rasterio.open(path, "w", crs="EPSG:32633", transform=rasterio.Affine(10, 0, 6e5, 0, -10, 6.6e6), **profile) as out:
            out.write(values, 1)
    ours = []
    for _ in range(rounds):
        start = time.perf_counter()
        told = subprocess.run([binary, "score", "--truth", paths[0], "--pred", paths[1], "--json"], check=True, capture_output=True)
        ours.append(time.perf_counter() - start)
keep = truth != 0
labels, predictions = truth[keep], mapped[keep]
sklearn = []
for _ in range(rounds):
    start = time.perf_counter()
    theirs = jaccard_score(labels, predictions, average=None)
    sklearn.append(time.perf_counter() - start)
sklearn = statistics.median(sklearn)
score = json.loads(told.stdout)
found = [score["jaccard"][str(label)] for label in score["labels"]]
print(f"{side} x {side}: s2pipe score {statistics.median(ours):.3f} s, scikit-learn's jaccard_score {sklearn:.3f} s: "
      f"1/{sklearn / statistics.median(ours):.0f}")
difference = max(abs(a - b) for a, b in zip(found, theirs))
print(f"greatest difference of a class {difference:.1e}")
sys.exit(int(difference > 1e-12))
