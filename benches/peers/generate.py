#!/usr/bin/env python3
"""Writes the scenarios of scenarios.py, a folder a tool: $WORKSPACE/SCENARIO/TOOL.

    benches/peers/generate.py [SCENARIO ...] [--tools TOOL,TOOL]
"""
import argparse
import os
import shutil

import scenarios
from tools import TIMED, TOOLS, WORKSPACE, throw_away


def workspace(scenario, tool):
    return WORKSPACE / scenario / tool


def tools_for(scenario):
    return scenarios.FAST if scenario in scenarios.SCALE else TIMED


def generate(scenario, tools):
    base = WORKSPACE / scenario
    if base.exists():
        throw_away([base])
    scenarios.write_inputs(scenario, base / "source/in")
    stages = scenarios.stages(scenario)
    for name in tools:
        folder = workspace(scenario, name)
        # Links: one copy of the gigabyte is enough, and nobody writes to sources.
        shutil.copytree(base / "source/in", folder / "in", copy_function=os.link)
        (folder / "out").mkdir()
        TOOLS[name].write(stages, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(scenarios.ALL))
    parser.add_argument("--tools", type=lambda text: text.split(","), help="instead of those that the scenario is meant for")
    args = parser.parse_args()
    for scenario in args.scenarios or scenarios.ALL:
        generate(scenario, args.tools or tools_for(scenario))


if __name__ == "__main__":
    main()
