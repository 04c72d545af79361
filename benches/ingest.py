#!/usr/bin/env python3
"""Ingesting scenes with `s2pipe`, beside rasterio reading the same files and nothing else.

    benches/ingest.py PROJECT [ROUNDS]         PROJECT holds pipelines/landcover.yaml and its scenes

Both are whole processes in turn; the medians are printed in seconds. `s2pipe` starts from an empty cache each time: it
hashes, reads, checks and pairs the files, counts classes, takes statistics and writes tiles. Needs rasterio.
"""
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

project = pathlib.Path(sys.argv[1])
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
binary = pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "s2pipe"
READ = "import rasterio, sys\nfor path in sys.argv[1:]:\n    with rasterio.open(path) as raster: raster.read()\n"
files = sorted(str(path) for path in project.glob("dset-s2-grunnkart/*/*.tif"))


def timed(*command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


ours, theirs, inside = [], [], []
for _ in range(rounds + 1):
    with tempfile.TemporaryDirectory() as cache:
        pipeline = project / "pipelines" / "landcover.yaml"
        ours.append(timed(binary, "run", pipeline, "--until", "ingest", "--cache", cache))
    theirs.append(timed(sys.executable, "-c", READ, *files))
    import rasterio

    start = time.perf_counter()
    for path in files:
        with rasterio.open(path) as raster:
            raster.read()
    inside.append(time.perf_counter() - start)
ours, theirs, inside = (statistics.median(times[1:]) for times in (ours, theirs, inside))
print(f"{len(files)} files: s2pipe ingest {ours:.3f} s, a process that reads them with rasterio {theirs:.3f} s, "
      f"the reading alone {inside:.3f} s; ratios {ours / theirs:.2f} and {ours / inside:.2f}")
