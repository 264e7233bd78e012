"""The demo's scripted agent: does what its task asks, with small waits, and needs no model.

It is an agent as Coord knows any: the task comes in the environment, work is done in the current
folder, exit status 0 means done. What it writes is in `edits/`, a folder for each task. Each line
gets a mark, such as `counts@17.3`, that no other attempt uses; with DEMO_JOURNAL set to a file,
each line is noted there once it is written; with DEMO_SPENT likewise each cost, before it is told.
"""

import ast
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

EDITS = Path(__file__).parent / "edits"
TASK = os.environ["COORD_TASK_ID"]
ATTEMPT = int(os.environ["COORD_ATTEMPT"])
TOKEN = int(os.environ["COORD_FENCING_TOKEN"])
MARK = f"{TASK}@{TOKEN}"
PACE_S = float(os.environ.get("DEMO_PACE_S", "0.04"))
PATIENCE_S = 60
REGISTRY = Path("textkit/registry.py")
MARKED = re.compile(r"  (#|<!--) [\w-]+@\d+\.\d+( -->)?$")

# The lines with marks, and those of them that are in the journal.
marked: list[str] = []
noted: list[str] = []


def main() -> int:
    handoff = read_handoff()
    if handoff:
        print(f"attempt {ATTEMPT}: the one before ended with {handoff['reason']}", flush=True)
    spend(0.01)
    if TASK == "rewrite":
        return spend_without_end()
    if TASK == "strict" and not handoff:
        write_all(EDITS / "strict.first")
        return 0
    if TASK == "strict" and handoff["reason"] == "CHECK_FAILED":
        failed = re.findall(r"FAIL: (\w+)", handoff["detail"])
        say(f"mending what the check told of: {', '.join(failed)}")
    write_all(EDITS / TASK, die_before_the_end=TASK == "histogram" and ATTEMPT == 1)
    if TASK in ("shout", "whisper"):
        register(handoff)
    spend(0.02)
    say("done")
    return 0


def read_handoff() -> dict[str, str]:
    """Return what the attempt before left: reason, message, detail, progress; {} for the first."""
    path = os.environ.get("COORD_HANDOFF_FILE")
    return json.loads(Path(path).read_text()) if path else {}


def write_all(source: Path, *, die_before_the_end: bool = False) -> None:
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for number, path in enumerate(files, 1):
        target = path.relative_to(source)
        say(f"{number} of {len(files)}: {target}")
        lines = path.read_text().splitlines()
        if die_before_the_end and number == len(files):
            write(target, lines[: len(lines) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(target, lines)


def write(path: Path, lines: list[str]) -> None:
    """Bring a file to these lines: a new one line by line, one that is there in a single step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        replace(path, lines)
        return
    for line in lines:
        time.sleep(PACE_S)
        append(path, mark(path, line))
        note(path)


def replace(path: Path, lines: list[str]) -> None:
    """Bring a file to these lines; those that it has already stay as they are."""
    present = {MARKED.sub("", line): line for line in path.read_text().splitlines()}
    time.sleep(PACE_S * len(lines))
    new = [present.get(line) or mark(path, line) for line in lines]
    draft = path.with_name(f"{path.name}.new")
    draft.write_text("".join(f"{line}\n" for line in new))
    draft.replace(path)
    note(path)


def register(handoff: dict[str, str]) -> None:
    """Add the command to the one line that lists them all.

    The first attempt writes the line as it remembers it. Whoever comes second learns from the
    hand-off that somebody else was there, and keeps what that one wrote.
    """
    time.sleep(1.0)
    lines = REGISTRY.read_text().splitlines()
    (index,) = (i for i, line in enumerate(lines) if line.startswith("COMMANDS = "))
    commands = ["words"]
    if handoff:
        say("keeping the other commands")
        commands = ast.literal_eval(MARKED.sub("", lines[index]).removeprefix("COMMANDS = "))
    names = ", ".join(f'"{name}"' for name in [*commands, TASK])
    lines[index] = f"COMMANDS = [{names}]"
    replace(REGISTRY, [MARKED.sub("", line) for line in lines])


def spend_without_end() -> int:
    lines = (EDITS / TASK / "docs" / "rewrite.md").read_text().splitlines()
    path = Path("docs/rewrite.md")
    path.parent.mkdir(exist_ok=True)
    for round_ in range(int(PATIENCE_S / 0.25)):
        append(path, mark(path, lines[round_ % len(lines)]))
        note(path)
        say(f"line {round_ + 1} of nobody knows how many")
        spend(0.03)
        time.sleep(0.25)
    print("nobody has stopped me", file=sys.stderr)
    return 1


def mark(path: Path, line: str) -> str:
    """Return a line with a mark of its own; blank lines need none."""
    if not line.strip():
        return line
    tag = f"{MARK}.{len(marked) + 1}"
    marked.append(f"{line}  <!-- {tag} -->" if path.suffix == ".md" else f"{line}  # {tag}")
    return marked[-1]


def note(path: Path) -> None:
    """Note the lines that are on disk by now, so that one can look later whether any was lost."""
    journal = os.environ.get("DEMO_JOURNAL")
    while journal and len(noted) < len(marked):
        line = marked[len(noted)]
        row = {"task": TASK, "fencing_token": TOKEN, "path": str(path), "line": line}
        append_synced(journal, json.dumps(row))
        noted.append(line)


def append_synced(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def say(text: str) -> None:
    """Tell how far the work is."""
    print(text, flush=True)
    append(Path(os.environ["COORD_PROGRESS_FILE"]), text)


def spend(dollars: float) -> None:
    """Tell what a call to a model would have cost."""
    if spent := os.environ.get("DEMO_SPENT"):
        cost = {"task": TASK, "fencing_token": TOKEN, "nanos": round(dollars * 1e9)}
        append_synced(spent, json.dumps(cost))
    usage = {"cost_usd": dollars, "model": "scripted", "input_tokens": 900, "output_tokens": 100}
    append(Path(os.environ["COORD_COST_FILE"]), json.dumps(usage))


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
