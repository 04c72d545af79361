"""A pipeline of two stages, in/x.txt -> a -> b, whose first stage can be told to be slow, to fail, or to leave nothing.

What tells it so, and the record of what ran, lie beside the project: no tool knows of them, and the commands stay the same.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace

from scenarios import Stage
from tools import WORKSPACE, Tool

PARTIAL = "HALF"
SLOW = 4  # seconds
# Lines that begin with # are left out: a change of one leaves the same output.
A = (f"echo a >> SIDE/ran; if [ -e SIDE/slow ]; then echo {PARTIAL} > {{o}}; sleep {SLOW}; fi; "
     f"if [ -e SIDE/fail ]; then echo {PARTIAL} > {{o}}; exit 3; fi; "
     "if [ -e SIDE/silent ]; then rm -f {o}; exit 0; fi; grep -v '^#' {i} > {o}")
B = "echo b >> SIDE/ran; tr a-z A-Z < {i} > {o}"


@dataclass(frozen=True)
class Seen:
    """What a run did, and what a user finds after it."""
    code: int
    ran: str  # the stages whose commands were started, such as "ab"
    a: str
    b: str
    said: str = ""

    def __str__(self):
        return f"exit code {self.code}, ran {self.ran or 'nothing'}, a={self.a}, b={self.b}"


class Project:
    def __init__(self, tool: Tool, name: str):
        self.tool = tool
        self.base = WORKSPACE / "tiny" / f"{tool.name}-{name}"
        self.folder = self.base / "project"
        self.side = self.base / "side"
        shutil.rmtree(self.base, ignore_errors=True)
        for folder in ("in", "out"):
            (self.folder / folder).mkdir(parents=True)
        self.side.mkdir()
        self.source = self.folder / "in/x.txt"
        self.source.write_text("one\n")
        a = Stage("a", ["in/x.txt"], "out/a.txt", A)
        b = Stage("b", ["out/a.txt"], "out/b.txt", B)
        self.stages = [replace(s, command=s.command.replace("SIDE", str(self.side))) for s in (a, b)]
        self.tool.write(self.stages, self.folder)

    def tell(self, **flags: bool):
        for name, on in flags.items():
            flag = self.side / name
            flag.touch() if on else flag.unlink()

    def write(self, text):
        # Some tools look at whole seconds only; they shall see that this is newer.
        time.sleep(1.05)
        self.source.write_text(text)

    def set_command_of_b(self, suffix):
        a, b = self.stages
        self.tool.write([a, replace(b, command=b.command + suffix)], self.folder)

    def path(self, name) -> pathlib.Path:
        return self.tool.result(self.folder, self.stages["ab".index(name)])

    def shown(self, name):
        path = self.path(name)
        return path.read_text().strip() if path.exists() else "absent"

    def started(self):
        """Which stages have been started since this was asked last."""
        record = self.side / "ran"
        ran = "".join(record.read_text().split()) if record.exists() else ""
        record.unlink(missing_ok=True)
        return ran

    def has_started(self):
        return (self.side / "ran").exists()

    def spawn(self):
        return subprocess.Popen(self.tool.command("run", "b"), cwd=self.folder, text=True, start_new_session=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def seen(self, code, said=""):
        return Seen(code, self.started(), self.shown("a"), self.shown("b"), said)

    def run(self, command=None):
        process = subprocess.run(command or self.tool.command("run", "b"), cwd=self.folder, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self.seen(process.returncode, process.stdout)

    def spawn_until_busy(self):
        """A run that is in the middle of stage a."""
        process = self.spawn()
        for _ in range(200):
            if self.has_started():
                break
            time.sleep(0.05)
        time.sleep(0.3)
        return process

    def kill(self, process):
        """As the kernel does when memory runs out, or a machine that is turned off: no warning, the whole group."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def left_running(self):
        """How many processes still work below the project; 0 where the system does not tell (only Linux does)."""
        folders = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                folders.append(os.readlink(process / "cwd"))
            except OSError:
                continue
        return sum(folder.startswith(str(self.folder)) for folder in folders)
