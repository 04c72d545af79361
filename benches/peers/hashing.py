#!/usr/bin/env python3
"""How fast s2pipe reads what it has not seen yet: the 1 GB of `big` with an empty memory of source files, beside b3sum and the
blake3 package for Python, all with as many threads, the files in the page cache. generate.py comes first.

    benches/peers/hashing.py [--rounds 9]

s2pipe and b3sum are timed as whole processes; s2pipe also reads the pipeline and looks all tasks up. Python's time is without
its start.
"""
import argparse
import statistics
import subprocess
import sys
import time

from generate import workspace
from tools import JOBS, PEERS, TOOLS, call

FOLDER = workspace("big", "s2pipe")
FILES = sorted((FOLDER / "in").glob("*.bin"))
PYTHON = """
import sys, time, blake3
begun = time.perf_counter()
for file in sys.argv[2:]:
    blake3.blake3(max_threads=int(sys.argv[1])).update_mmap(file).hexdigest()
print(time.perf_counter() - begun)
"""


def timed(run):
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def s2pipe():
    (FOLDER / "cache/.s2pipe/sources").unlink(missing_ok=True)
    return timed(lambda: call(TOOLS["s2pipe"], "run", FOLDER, check=True))


def b3sum():
    return timed(lambda: subprocess.run(["b3sum", "--num-threads", JOBS, *FILES], stdout=subprocess.DEVNULL, check=True))


def python():
    command = [PEERS / "venv/bin/python", "-c", PYTHON, JOBS, *FILES]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    if not FILES:
        sys.exit("there is no scenario big; see generate.py")
    call(TOOLS["s2pipe"], "run", FOLDER, check=True)
    seconds = {s2pipe: [], b3sum: [], python: []}
    # The first round warms up.
    for _ in range(rounds + 1):
        for way, found in seconds.items():
            found.append(way())
    gigabytes = sum(file.stat().st_size for file in FILES) / 1e9
    ours = statistics.median(seconds[s2pipe][1:])
    print(f"{gigabytes:.2f} GB in {len(FILES)} files, {JOBS} threads, {rounds} rounds.\n")
    print("| | median s | lowest-highest | GB/s | s2pipe/this |\n|---|---|---|---|---|")
    for way, found in seconds.items():
        median = statistics.median(found[1:])
        name = "blake3 for Python" if way is python else way.__name__
        spread = f"{min(found[1:]):.3f}-{max(found[1:]):.3f}"
        print(f"| {name} | {median:.3f} | {spread} | {gigabytes / median:.2f} | {ours / median:.2f} |")


if __name__ == "__main__":
    main()
