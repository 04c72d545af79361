"""What is run: the same stages for every tool, and the files that they read.

    s5      a chain of 5 copies
    s200    a chain of 50 copies, a fan of 149 from its end, and one stage that joins them
    big     5 files of 200 MiB -> one stage that counts bytes -> a copy
    small   20,000 files of 200 bytes in 100 folders -> one stage that counts files -> a copy
    s100, s1000, s10000
            as many tasks, in 10 layers; each column begins at a file of its own and `nl` makes each output different, so that
            a tool that keeps outputs by content has as many to look at as one that keeps them by name
"""
import random
from dataclasses import dataclass

SCALE = {"s100": 100, "s1000": 1_000, "s10000": 10_000}
ALL = ["s5", "s200", "big", "small", *SCALE]
# DVC, Snakemake, doit and moon take from minutes to hours for 10,000 tasks: s200 tells enough about them.
FAST = ["s2pipe", "ninja", "make"]
LAYERS = 10


@dataclass(frozen=True)
class Stage:
    """One command. `{i}` in it is the input where there is one, else the folder that holds them; `{o}` is the output."""
    name: str
    inputs: list[str]  # paths, or one glob
    output: str
    command: str

    def folder_or_file(self):
        return self.inputs[0] if self.is_single() else self.inputs[0].split("/")[0]

    def is_single(self):
        return len(self.inputs) == 1 and "*" not in self.inputs[0]


def copy(name, source, suffix=".txt"):
    return Stage(name, [source], f"out/{name}{suffix}", "cp {i} {o}")


def chain(names, source):
    for name in names:
        yield copy(name, source)
        source = f"out/{name}.txt"


def stages(scenario):
    if scenario == "s5":
        return list(chain([f"s{i}" for i in range(5)], "in/a.txt"))
    if scenario == "s200":
        line = list(chain([f"c{i:03}" for i in range(50)], "in/a.txt"))
        fan = [copy(f"f{i:03}", line[-1].output) for i in range(149)]
        return [*line, *fan, Stage("join", [f.output for f in fan], "out/join.txt", "cat {i}/f*.txt > {o}")]
    if scenario == "big":
        count = Stage("count", [f"in/{i}.bin" for i in range(5)], "out/count.txt", "cat {i}/*.bin | wc -c > {o}")
        return [count, copy("copy", count.output)]
    if scenario == "small":
        # s2pipe gives a command links to its inputs.
        count = Stage("count", ["in/*/*.txt"], "out/count.txt", "find -L {i} -type f | wc -l > {o}")
        return [count, copy("copy", count.output)]
    # Short names: a pipeline of 10,000 stages must stay below s2pipe's limit of 1 MiB.
    made = []
    for layer in "abcdefghij"[:LAYERS]:
        for column in range(SCALE[scenario] // LAYERS):
            source = made[-SCALE[scenario] // LAYERS].output if layer != "a" else f"in/{column:03}"
            name = f"{layer}{column:03}"
            made.append(Stage(name, [source], f"out/{name}", "nl {i} > {o}"))
    return made


def write_inputs(scenario, folder):
    folder.mkdir(parents=True)
    if scenario in ("s5", "s200"):
        (folder / "a.txt").write_text("hello\n")
    elif scenario == "big":
        # Not compressible, and no two blocks alike.
        block = random.Random(1).randbytes(1 << 20)
        for file in range(5):
            with open(folder / f"{file}.bin", "wb") as out:
                for part in range(200):
                    out.write(bytes([file, part]) + block[2:])
    elif scenario == "small":
        for a in range(100):
            (folder / f"{a:02}").mkdir()
            for b in range(200):
                # The folder is in the name too: s2pipe gives a command all files in one folder.
                (folder / f"{a:02}" / f"{a:02}-{b:03}.txt").write_text(f"{a} {b} " + "x" * 190)
    else:
        for column in range(SCALE[scenario] // LAYERS):
            (folder / f"{column:03}").write_text(f"{column}\n")
