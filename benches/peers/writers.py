"""Writes the same stages down for every tool, each in the way that its manual shows."""
import json
import re
import subprocess


def fill(stage, i, o):
    return stage.command.replace("{i}", i).replace("{o}", o)


def plain(stage):
    """The command for tools that run in the folder of the pipeline."""
    return fill(stage, stage.folder_or_file(), stage.output)


def files(stage, folder):
    """The inputs, for tools that want every file named."""
    if stage.is_single() or "*" not in stage.inputs[0]:
        return stage.inputs
    return sorted(str(path.relative_to(folder)) for path in folder.glob(stage.inputs[0]))


def git(folder, *commit):
    def run(*args):
        subprocess.run(["git", *args], cwd=folder, stdout=subprocess.DEVNULL, check=True)

    run("init", "-q")
    run("add", *commit)
    run("commit", "-qm", "pipeline")


def s2pipe(stages, folder):
    def text(value, safe=re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")):
        return value if safe.fullmatch(value) else "'" + value.replace("'", "''") + "'"

    def source(path):
        return makers.get(path, path)

    makers = {stage.output: stage.name for stage in stages}
    lines = ["name: peers", "stages:"]
    for stage in stages:
        output = stage.output.removeprefix("out/")
        inputs = [text(source(path)) for path in stage.inputs]
        inputs = inputs[0] if len(inputs) == 1 else f"[{', '.join(inputs)}]"
        run = text(fill(stage, '"$i"', output))
        lines.append(f"  {stage.name}: {{uses: shell, inputs: {{i: {inputs}}}, outputs: {{o: {output}}}, with: {{run: {run}}}}}")
    (folder / "pipeline.yaml").write_text("\n".join(lines) + "\n")


def ninja(stages, folder):
    lines = []
    for stage in stages:
        command = plain(stage).replace("$", "$$")
        # restat: ninja's early cutoff.
        lines += [f"rule {stage.name}", f"  command = {command}", "  restat = 1"]
        lines += [f"build {stage.output}: {stage.name} {' '.join(files(stage, folder))}"]
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def make(stages, folder):
    def prerequisites(stage):
        return " ".join(f"$(wildcard {path})" if "*" in path else path for path in stage.inputs)

    lines = ["all: " + " ".join(stage.output for stage in last(stages))]
    for stage in stages:
        command = plain(stage).replace("$", "$$")
        lines += [f"{stage.output}: {prerequisites(stage)}", f"\t@{command}"]
    (folder / "Makefile").write_text("\n".join(lines) + "\n")


def last(stages):
    """The stages that no other stage reads."""
    read = {path for stage in stages for path in stage.inputs}
    return [stage for stage in stages if stage.output not in read]


def dvc(stages, folder):
    def inputs(stage):
        # DVC hashes a folder as one thing.
        return [stage.folder_or_file()] if "*" in stage.inputs[0] else stage.inputs

    new = not (folder / ".dvc").exists()
    pipeline = {s.name: dict(cmd=plain(s), deps=inputs(s), outs=[s.output]) for s in stages}
    (folder / "dvc.yaml").write_text(json.dumps({"stages": pipeline}, indent=1))
    if new:
        # out/ is ignored as a whole, so that DVC need not edit .gitignore stage by stage.
        (folder / ".gitignore").write_text("/out\n/in\n/.dvc/tmp\n/.dvc/cache\n")
        git(folder, ".gitignore", "dvc.yaml")
        for args in (["init", "-q"], ["config", "core.analytics", "false"], ["config", "core.check_update", "false"]):
            subprocess.run(["dvc", *args], cwd=folder, stdout=subprocess.DEVNULL, check=True)


def snakemake(stages, folder):
    def inputs(stage):
        if "*" in stage.inputs[0]:
            return f"sorted(glob.glob({stage.inputs[0]!r}))"
        return ", ".join(map(repr, stage.inputs))

    lines = ["import glob", "rule all:", "    input: " + ", ".join(repr(stage.output) for stage in last(stages))]
    for stage in stages:
        command = plain(stage).replace("{", "{{").replace("}", "}}")
        lines += [f"rule {stage.name}:", f"    input: {inputs(stage)}", f"    output: {stage.output!r}"]
        lines += [f"    shell: {command!r}"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n")


def doit(stages, folder):
    # In doit `%` in a command stands for a variable.
    tasks = [(s.name, files(s, folder), s.output, plain(s).replace("%", "%%")) for s in stages]
    (folder / "tasks.json").write_text(json.dumps(tasks))
    (folder / "dodo.py").write_text(
        "import json\n"
        "DOIT_CONFIG = {'backend': 'sqlite3', 'verbosity': 0}\n"
        "def task_stage():\n"
        "    for name, inputs, output, command in json.load(open('tasks.json')):\n"
        "        yield {'name': name, 'file_dep': inputs, 'targets': [output], 'actions': [command]}\n")


def moon(stages, folder, dependency=lambda task: task):
    def task(stage):
        deps = [dependency(f"~:{makers[path]}") for path in stage.inputs if path in makers]
        inputs = [f"/{path}" for path in stage.inputs]
        return dict(script=plain(stage), inputs=inputs, outputs=[f"/{stage.output}"], deps=deps)

    makers = {stage.output: stage.name for stage in stages}
    (folder / "moon.yml").write_text(json.dumps({"language": "bash", "tasks": {s.name: task(s) for s in stages}}, indent=1))
    if not (folder / ".moon").exists():
        (folder / ".moon").mkdir()
        (folder / ".moon" / "workspace.yml").write_text(
            "projects: {root: '.'}\ntelemetry: false\nvcs: {defaultBranch: 'master'}\n")
        (folder / ".gitignore").write_text("/.moon/cache\n/out\n")
        # The sources are left uncommitted: moon hashes them by itself, and git need not keep a gigabyte.
        git(folder, ".gitignore", ".moon", "moon.yml")


def moon_outputs(stages, folder):
    """moon, told to look at what a dependency left and not at how it was made."""
    moon(stages, folder, lambda task: {"target": task, "cacheStrategy": "outputs"})
