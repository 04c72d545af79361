"""The tools: how each is called, where its results are, what it keeps. Also the environment that all of them run in."""
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

import writers

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = pathlib.Path(os.environ.get("PEERS", "~/.cache/s2pipe-peers")).expanduser().resolve()
S2PIPE = str(pathlib.Path(os.environ.get("S2PIPE", REPOSITORY / "target/release/s2pipe")).resolve())
WORKSPACE = pathlib.Path(os.environ.get("WORKSPACE", PEERS / "ws")).resolve()
TRASH = WORKSPACE / "trash"
JOBS = os.environ.get("JOBS", "2")

os.environ.update(
    PATH=f"{PEERS}/venv/bin:{PEERS}/npm/node_modules/.bin:{os.environ['PATH']}",
    XDG_CACHE_HOME=f"{PEERS}/xdg",
    # No calls home, and the behaviour of a terminal also where this runs under CI.
    DVC_NO_ANALYTICS="1", MOON_TELEMETRY="false", CI="",
    GIT_AUTHOR_NAME="bench", GIT_AUTHOR_EMAIL="bench@example.org",
    GIT_COMMITTER_NAME="bench", GIT_COMMITTER_EMAIL="bench@example.org")


@dataclass(frozen=True)
class Tool:
    name: str
    write: Callable  # (stages, folder)
    run: str  # {goal}: the last stage
    status: str | None
    version: str
    keeps: list[str] = field(default_factory=list)  # beside out/
    after_kill: list[str] = field(default_factory=list)  # what its messages tell a user to do, in this order

    def command(self, mode, goal=""):
        return self.words(getattr(self, mode), goal)

    @staticmethod
    def words(line, goal=""):
        return [word.format(goal=goal, jobs=JOBS, s2pipe=S2PIPE) for word in line.split()]

    def result(self, folder, stage):
        """Where a user finds the output of a stage."""
        name = stage.output.removeprefix("out/")
        return folder / (f"cache/peers/{stage.name}/{name}" if self.name == "s2pipe" else f"out/{name}")

    def wipe(self, folder):
        """Leaves the pipeline and its sources, nothing else."""
        throw_away(path for name in ["out", *self.keeps] for path in folder.glob(name))
        (folder / "out").mkdir()

    def is_there(self):
        return shutil.which(self.command("version")[0]) is not None


MOON = "moon run --concurrency {jobs} --log error -q root:{goal}"
TOOLS = {tool.name: tool for tool in [
    Tool("s2pipe", writers.s2pipe, "{s2pipe} run pipeline.yaml -q -j {jobs}", "{s2pipe} status pipeline.yaml -q",
         "{s2pipe} --version", ["cache"]),
    Tool("ninja", writers.ninja, "ninja -j{jobs}", "ninja -n", "ninja --version", [".ninja_log", ".ninja_deps"]),
    Tool("make", writers.make, "make -s -j{jobs}", "make -n", "make --version"),
    Tool("dvc", writers.dvc, "dvc repro -q", "dvc status -q", "dvc --version", ["dvc.lock", ".dvc/cache", ".dvc/tmp"]),
    Tool("snakemake", writers.snakemake, "snakemake -c{jobs} -q all", "snakemake -n -q all", "snakemake --version",
         [".snakemake"],
         ["snakemake --unlock", "snakemake -c{jobs} -q all --rerun-incomplete"]),
    Tool("doit", writers.doit, "doit -n {jobs}", "doit list --all --status", "doit --version", [".doit.db*"]),
    Tool("moon", writers.moon, MOON, None, "moon --version", [".moon/cache"]),
    Tool("moon+outputs", writers.moon_outputs, MOON, None, "moon --version", [".moon/cache"]),
]}
# moon+outputs differs from moon in what it does, not in how fast it is.
TIMED = [name for name in TOOLS if name != "moon+outputs"]


def throw_away(paths):
    """Moves, and does not delete: ext4 without a journal searches long for a free inode after many were deleted."""
    TRASH.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(dir=TRASH))
    for path in list(paths):
        path.rename(aside / path.name)


def call(tool, mode, folder, goal="", **options):
    return subprocess.run(tool.command(mode, goal), cwd=folder, **options)


def versions(names):
    """One line that says what was compared."""
    def version(tool):
        told = subprocess.run(tool.command("version"), capture_output=True, text=True).stdout.splitlines()[0]
        return f"{tool.name} {told.split()[-1]}"

    return ", ".join(version(TOOLS[name]) for name in names)
