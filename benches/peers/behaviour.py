#!/usr/bin/env python3
"""What each tool does in the situations that people get into, judged, as a Markdown table.

    benches/peers/behaviour.py [TOOL ...]

ok: right, with no work done twice. more: right, but something ran that need not. WRONG: a wrong result, a wrong exit code, or what
the row says does not hold. Ends with exit code 1 when s2pipe has anything but ok.
"""
import os
import re
import sys
import time
from dataclasses import dataclass

from tiny import PARTIAL, Project
from tools import TOOLS, versions

NOTE = "# note\n"


@dataclass(frozen=True)
class Row:
    what: str
    seen: object
    right: bool
    best: bool = True

    def verdict(self):
        return ("ok" if self.best else "more") if self.right else "WRONG"


def is_right(seen, b):
    return seen.code == 0 and seen.b == b


def everyday(p):
    """Nothing goes wrong: what is run again, and what is not."""
    seen = p.run()
    yield Row("first run: both stages run", seen, is_right(seen, "ONE") and seen.ran == "ab")
    seen = p.run()
    yield Row("no-op: nothing runs", seen, is_right(seen, "ONE") and seen.ran == "")
    time.sleep(1.05)
    os.utime(p.source)
    seen = p.run()
    yield Row("input touched, same bytes: nothing runs", seen, is_right(seen, "ONE"), seen.ran == "")
    p.write(NOTE + "one\n")
    seen = p.run()
    yield Row("early cutoff: only a runs", seen, is_right(seen, "ONE") and "a" in seen.ran, seen.ran == "a")
    p.write("two\n")
    p.run()
    p.write(NOTE + "one\n")
    seen = p.run()
    yield Row("A -> B -> A: nothing runs", seen, is_right(seen, "ONE"), seen.ran == "")
    times = p.source.stat()
    p.write(NOTE + "six\n")
    os.utime(p.source, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen = p.run()
    yield Row("input changed, size and mtime as before: both run", seen, is_right(seen, "SIX"))
    p.write(NOTE + "one\n")
    p.run()
    p.set_command_of_b(" ; true")
    seen = p.run()
    yield Row("command of b changed: only b runs", seen, is_right(seen, "ONE") and "b" in seen.ran, seen.ran == "b")
    p.set_command_of_b("")
    seen = p.run()
    yield Row("command of b as before: nothing runs", seen, is_right(seen, "ONE"), seen.ran == "")


def damage(p):
    """Somebody lays hands on the results."""
    def delete(name):
        p.path(name).unlink()

    def edit(name):
        # Through the link, where the result is one. As many bytes as before.
        os.chmod(p.path(name), 0o644)
        p.path(name).write_text("BAD\n")

    def replace(name):
        # As editors save: another file under the old name.
        delete(name)
        p.path(name).write_text("BAD\n")

    hands = [("b", delete, "final output deleted: back, nothing runs"), ("a", delete, "intermediate deleted: nothing runs"),
             ("b", edit, "final output hand-edited: put right"), ("a", edit, "intermediate hand-edited: put right"),
             ("b", replace, "final output replaced: put right")]
    for number, (name, act, what) in enumerate(hands):
        # Everything is made anew first, whatever a tool overlooked before.
        p.write(f"# {number}\none\n")
        p.run()
        time.sleep(1.05)
        act(name)
        seen = p.run()
        # What was overwritten in the only place where it was kept has to be made again.
        allowed = [""] if act is delete else ["", name]
        yield Row(what, seen, is_right(seen, "ONE") and seen.a != "BAD", seen.ran in allowed)


def after_kill(p):
    """SIGKILL to the whole process group in the middle of stage a, with half its output written."""
    p.run()
    p.started()
    p.tell(slow=True)
    p.write("three\n")
    process = p.spawn_until_busy()
    p.kill(process)
    time.sleep(0.3)
    left = p.left_running()
    seen = p.seen(process.returncode)
    yield Row("killed mid-stage: half an output is not shown as one", seen, PARTIAL not in (seen.a, seen.b))
    yield Row("killed mid-stage: no command goes on", f"{left} processes", True, left == 0)
    p.tell(slow=False)
    seen = p.run()
    yield Row("after the kill: runs and is right", seen, is_right(seen, "THREE"), seen.ran == "ab")
    for step in p.tool.after_kill if seen.code else []:
        p.run(p.tool.words(step))
    seen = p.run()
    yield Row("after the kill, and what its message says to do: right", seen, is_right(seen, "THREE"))


def failures(p):
    """A stage fails with half its output written, and one ends well without any."""
    p.run()
    p.tell(fail=True)
    p.write("four\n")
    p.started()
    seen = p.run()
    yield Row("stage fails: exit code, no half output shown", seen,
              seen.code != 0 and PARTIAL not in (seen.a, seen.b), seen.ran == "a")
    seen = p.run()
    yield Row("run again, still failing: fails again", seen, seen.code != 0 and seen.ran == "a")
    p.tell(fail=False)
    seen = p.run()
    yield Row("run again, cause fixed: right", seen, is_right(seen, "FOUR"), seen.ran == "ab")
    p.tell(silent=True)
    p.write("five\n")
    seen = p.run()
    yield Row("exit code 0 without output: refused", seen, seen.code != 0, seen.ran == "a")
    p.tell(silent=False)
    seen = p.run()
    yield Row("then it leaves one: right", seen, is_right(seen, "FIVE"), seen.ran == "ab")


def together(p):
    """A second run while the first is busy."""
    p.tell(slow=True)
    first = p.spawn_until_busy()
    second = p.spawn()
    said = [process.communicate()[0] for process in (first, second)]
    codes = [process.returncode for process in (first, second)]
    seen = p.seen(max(map(abs, codes)), said[1])
    yield Row("two runs at once: both succeed, each stage runs once", seen, is_right(seen, "ONE") and seen.ran == "ab")


def probe(tool):
    for part in (everyday, damage, after_kill, failures, together):
        yield from part(Project(tool, part.__name__))


def tell(tool, row):
    print(f"  {row.verdict():6} {row.what:60} {row.seen}", file=sys.stderr, flush=True)
    if row.verdict() == "WRONG" and getattr(row.seen, "said", ""):
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in row.seen.said.splitlines()]
        print("         it said: " + " / ".join(filter(None, lines))[-200:], file=sys.stderr)


def main():
    names = sys.argv[1:] or [name for name, tool in TOOLS.items() if tool.is_there()]
    table = {}
    for name in names:
        print(name, file=sys.stderr)
        for row in probe(TOOLS[name]):
            tell(TOOLS[name], row)
            table.setdefault(row.what, {})[name] = row
    print(f"{versions(names)}.\n")
    print("| | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for what, rows in table.items():
        print(f"| {what} | " + " | ".join(cell(rows[name]) for name in names) + " |")
    return int(any(rows["s2pipe"].verdict() != "ok" for rows in table.values() if "s2pipe" in rows))


def cell(row):
    verdict = row.verdict()
    return f"{verdict}: {row.seen.ran or '-'}" if verdict == "more" and hasattr(row.seen, "ran") else verdict


if __name__ == "__main__":
    sys.exit(main())
