#!/usr/bin/env python3
"""Runs one tool on one scenario, to look at it by hand.

    benches/peers/run.py TOOL SCENARIO full|run|status|wipe      full: wipe, then run; run: nothing to do when up to date
"""
import sys

import scenarios
from generate import workspace
from tools import TOOLS, call


def main():
    tool, scenario, mode = sys.argv[1:]
    folder = workspace(scenario, tool)
    if mode in ("full", "wipe"):
        TOOLS[tool].wipe(folder)
    if mode == "wipe":
        return 0
    if mode == "status" and not TOOLS[tool].status:
        sys.exit(f"{tool} has no such question")
    goal = scenarios.stages(scenario)[-1].name
    return call(TOOLS[tool], "run" if mode == "full" else mode, folder, goal).returncode


if __name__ == "__main__":
    sys.exit(main())
