#!/usr/bin/env python3
"""Times every tool on every generated scenario and prints a Markdown table. generate.py comes first.

    benches/peers/speed.py [SCENARIO ...] [--rounds 5] [--pairs 15]

Each round calls all tools once, one after the other, so that all see the same machine. s2pipe and ninja are then called in turn
for so many pairs more. Seconds are of the whole process, from its start to its end, and medians.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

import scenarios
from generate import workspace
from tools import JOBS, TIMED, TOOLS, TRASH, versions

QUIET = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
RIVALS = ["s2pipe", "ninja"]


class Course:
    """A scenario with the tools that take part."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.stages = scenarios.stages(scenario)
        self.tools = [name for name in TIMED if workspace(scenario, name).exists() and TOOLS[name].is_there()]

    def call(self, name, mode):
        """Wall seconds."""
        command = TOOLS[name].command(mode, self.stages[-1].name)
        begun = time.perf_counter()
        code = subprocess.run(command, cwd=workspace(self.scenario, name), **QUIET).returncode
        seconds = time.perf_counter() - begun
        if code:
            sys.exit(f"{self.scenario}: `{' '.join(command)}` ended with {code}")
        return seconds

    def first_runs(self, pairs):
        # Once for most: 200 stages take DVC the better part of a minute.
        seconds = {name: [] for name in self.tools}
        for names in [self.tools] + [RIVALS] * pairs:
            for name in names:
                TOOLS[name].wipe(workspace(self.scenario, name))
                seconds[name].append(self.call(name, "run"))
        self.compare_results()
        return seconds

    def compare_results(self):
        """What is timed must be the same work: every tool must have left the same bytes."""
        for stage in self.stages:
            paths = [TOOLS[name].result(workspace(self.scenario, name), stage) for name in self.tools]
            if len({path.read_bytes() for path in paths}) != 1:
                sys.exit(f"{self.scenario}: the tools differ in what {stage.name} left: {[str(p) for p in paths]}")

    def again(self, mode, rounds, pairs):
        tools = [name for name in self.tools if getattr(TOOLS[name], mode)]
        for name in tools:
            self.call(name, mode)
        seconds = {name: [self.call(name, mode)] for name in tools}
        for names in [tools] * (rounds - 1) + [RIVALS] * pairs:
            for name in names:
                seconds[name].append(self.call(name, mode))
        return seconds

    def memory(self, rounds=3):
        """Peak resident memory of a run with nothing to do, MB."""
        # From the shell: a process that Python starts inherits Python's own peak.
        peaks = {}
        for name in self.tools:
            command = TOOLS[name].command("run", self.stages[-1].name)
            for _ in range(rounds):
                told = subprocess.run(["/usr/bin/time", "-f", "%M", *command], cwd=workspace(self.scenario, name),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
                peaks.setdefault(name, []).append(int(told.stderr.split()[-1]) / 1000)
        return peaks


def row(title, values, digits=3):
    """One line of the table: medians, and what s2pipe's is divided by ninja's."""
    median = {name: statistics.median(found) for name, found in values.items()}
    cells = [f"{median[name]:,.{digits}f}" if name in median else "" for name in TIMED]
    ratio = median["s2pipe"] / median["ninja"]
    spread = " ".join(f"{name} {min(found):.3f}-{max(found):.3f} ({len(found)})" for name, found in values.items())
    print(f"{title}: lowest-highest (calls): {spread}", file=sys.stderr, flush=True)
    return f"| {title} | " + " | ".join(cells) + f" | {ratio:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(scenarios.ALL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=15)
    args = parser.parse_args()
    rows = []
    for course in map(Course, args.scenarios or scenarios.ALL):
        if not set(RIVALS) <= set(course.tools):
            sys.exit(f"{course.scenario}: s2pipe or ninja is missing; see setup.sh and generate.py")
        rows.append(row(f"{course.scenario}, first run", course.first_runs(pairs=2)))
        nothing = course.again("run", args.rounds, args.pairs)
        rows.append(row(f"{course.scenario}, nothing to do", nothing))
        if course.scenario in scenarios.SCALE:
            micro = {name: [s / len(course.stages) * 1e6 for s in found] for name, found in nothing.items()}
            rows.append(row(f"{course.scenario}, nothing to do, µs a task", micro, digits=1))
        if course.scenario in ("s5", "s200", "s10000"):
            rows.append(row(f"{course.scenario}, what would run?", course.again("status", args.rounds, args.pairs)))
        if course.scenario in ("s200", "s10000"):
            rows.append(row(f"{course.scenario}, nothing to do, peak MB", course.memory(), digits=1))
    print(f"Median wall seconds, {os.cpu_count()} cores, {JOBS} jobs; {versions(TIMED)}.\n")
    print("| | " + " | ".join(TIMED) + " | s2pipe/ninja |")
    print("|---" * (len(TIMED) + 2) + "|")
    print("\n".join(rows))
    shutil.rmtree(TRASH, ignore_errors=True)


if __name__ == "__main__":
    main()
