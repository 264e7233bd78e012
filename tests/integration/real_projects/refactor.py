"""A scripted agent that refactors Python code by its syntax tree, one function a task.

The prompt is JSON: `kind`, `path`, `function`. Whatever it writes has the attempt's number in it,
so that no other attempt writes the same line, and is noted in the journal once it is on disk.
"""

import ast
import difflib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

TASK = os.environ["COORD_TASK_ID"]
TOKEN = os.environ["COORD_FENCING_TOKEN"]
TOGETHER_S = 20

Lines = list[str]


def rename(lines: Lines, function: ast.FunctionDef) -> None:
    """Give a function's first local variable another name."""
    old, *_ = local_names(function)
    spots = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == old]
    for node in sorted(spots, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        replace(lines, node, f"{old}_{TOKEN}")


def document(lines: Lines, function: ast.FunctionDef) -> None:
    """Begin a function's body with a comment, as a reviewer might ask for."""
    body = function.body[0]
    lines.insert(body.lineno - 1, f"{' ' * body.col_offset}# {function.name}, see {TASK}@{TOKEN}.")


def extract(lines: Lines, function: ast.FunctionDef) -> None:
    """Make a constant of the module of a function's first number or text."""
    literal = literals(function)[0]
    replace(lines, literal, f"CONSTANT_{TOKEN}")
    first = next(number for number, line in enumerate(lines) if line.startswith(("def ", "class ")))
    while lines[first - 1].startswith("@"):
        first -= 1
    lines[first:first] = [f"CONSTANT_{TOKEN} = {literal.value!r}", ""]


def annotate(lines: Lines, function: ast.FunctionDef) -> None:
    """Say what a function returns."""
    at = function.lineno - 1
    lines[at] = re.sub(r":\s*$", f' -> "returned_{TOKEN}":', lines[at])


def break_(lines: Lines, function: ast.FunctionDef) -> None:
    """Have a function fail, as an agent does that has misunderstood."""
    body = function.body[0]
    lines.insert(body.lineno - 1, f"{' ' * body.col_offset}raise TypeError('{TASK}@{TOKEN}')")


def mend(lines: Lines, function: ast.FunctionDef) -> None:
    """Break a function at first; do better once the check's output is there."""
    (document if "TypeError" in handoff().get("detail", "") else break_)(lines, function)


KINDS: dict[str, Callable[[Lines, ast.FunctionDef], None]] = {
    "annotate": annotate,
    "break": break_,
    "document": document,
    "extract": extract,
    "mend": mend,
    "rename": rename,
}


def local_names(function: ast.FunctionDef) -> list[str]:
    """Return a function's own variables, unless functions within it make that hard to tell."""
    nodes = [node for one in function.body for node in ast.walk(one)]
    # Until Python 3.12, what is within an f-string does not know where it stands.
    hard = (ast.FunctionDef, ast.Lambda, ast.Global, ast.Nonlocal, ast.JoinedStr)
    if any(isinstance(node, hard) for node in nodes):
        return []
    names = (node for node in nodes if isinstance(node, ast.Name))
    given = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    return [one.id for one in names if isinstance(one.ctx, ast.Store) and one.id not in given]


def literals(function: ast.FunctionDef) -> list[ast.Constant]:
    """Return the numbers and texts of one line that a function's body returns or compares with."""
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Compare | ast.Return | ast.Assign):
            parts = [*node.comparators] if isinstance(node, ast.Compare) else [node.value]
            found += [one for one in parts if isinstance(one, ast.Constant)]
    return [
        one
        for one in found
        if isinstance(one.value, int | str)
        and not isinstance(one.value, bool)
        and one.lineno == one.end_lineno
    ]


def functions(source: str) -> dict[str, ast.FunctionDef]:
    """Return a module's functions and methods by qualified name; of equal names the last."""
    found = {}
    for node in ast.parse(source).body:
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for one in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(one, ast.FunctionDef):
                found[prefix + one.name] = one
    return found


def replace(lines: Lines, node: ast.expr, text: str) -> None:
    line = lines[node.lineno - 1].encode()
    new = line[: node.col_offset] + text.encode() + line[node.end_col_offset :]
    lines[node.lineno - 1] = new.decode()


def handoff() -> dict[str, str]:
    path = os.environ.get("COORD_HANDOFF_FILE")
    return json.loads(Path(path).read_text()) if path else {}


def meet(mates: list[str]) -> None:
    """Wait, at a first attempt, until all of these tasks are under way: they are to collide."""
    folder = Path(os.environ["MEETINGS"])
    (folder / TASK).touch()
    deadline = time.monotonic() + TOGETHER_S
    while not all((folder / mate).exists() for mate in mates):
        if time.monotonic() > deadline:
            sys.exit(f"{TASK} has waited in vain for {mates}")
        time.sleep(0.02)


def note(path: Path, old: Lines, new: Lines) -> None:
    added = [line[2:] for line in difflib.ndiff(old, new) if line.startswith("+ ")]
    rows = [json.dumps({"task": TASK, "path": str(path), "line": line}) for line in added]
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write("".join(f"{row}\n" for row in rows))


def main() -> None:
    # What came of the attempt before may follow the prompt.
    job, _ = json.JSONDecoder().raw_decode(sys.stdin.read())
    with Path(os.environ["COORD_COST_FILE"]).open("a") as file:
        file.write('{"cost_usd": 0.01}\n')
    path = Path(job["path"])
    source = path.read_text()
    lines = source.splitlines()
    meet(job["meets"])
    KINDS[job["kind"]](lines, functions(source)[job["function"]])
    text = "".join(f"{line}\n" for line in lines)
    compile(text, str(path), "exec")
    path.write_text(text)
    note(path, source.splitlines(), lines)


if __name__ == "__main__":
    main()
