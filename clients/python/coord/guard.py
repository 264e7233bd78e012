"""The guard: may this path be edited now?

It is asked before every edit, so it must begin fast: it is run as a file by a bare interpreter
(`python -I -S guard.py`), imports next to nothing, talks to nobody, and reads one small file that
the coordinator replaces before any claim's answer leaves it. So this module must not import others
of this package, nor `re`, `json`, `typing` or `collections`: each takes about as long as all else.

The file's first line is a JSON object: why everything is stopped, the newest fencing token, those
of live attempts. Each of the others is a claim: the folder that all it matches is in, a tab, and a
JSON array. So of many claims those that matter are found without reading the others.

Exit status: 0 it may, 1 that could not be found out, 2 it may not, with the reason on stderr.
"""

from __future__ import annotations

import os
import sys
from _json import encode_basestring_ascii, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

FREE, TROUBLE, BLOCKED = 0, 1, 2
FILE, HOLDER = "COORD_GUARD_FILE", "COORD_HOLDER"
_WORKER, _TOKEN, _WORKTREE = "COORD_WORKER", "COORD_FENCING_TOKEN", "COORD_WORKTREE"

# How a glob is written down: these stand for any number of characters, for one, and, as a whole
# segment, for any number of segments.
ANY_NUMBER, ANY_ONE, DEEP = "\x01", "\x02", "\x03"

_USAGE = """usage: guard.py [--file FILE] [--as NAME] PATH...
       guard.py [--file FILE] [--as NAME] --claude <HOOK-INPUT
       guard.py [--file FILE] [--as NAME] --staged <NUL-SEPARATED-PATHS
"""
# The tools of Claude Code that write a file name it by one of these.
_PATH_KEYS = ("file_path", "notebook_path")


class _Scanning:
    """What the scanner of the standard library's `json` asks of a decoder."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


def parse(text: str) -> Any:
    """Return what a JSON text says. ValueError where it says nothing."""
    scan: Any = make_scanner
    try:
        return scan(_Scanning)(text.strip(), 0)[0]
    except (StopIteration, SystemError) as error:
        # It fails to say what is wrong where `json` itself was never imported.
        raise ValueError("this is no JSON") from error


def meet(
    one: Sequence[object], other: Sequence[object], many: object, same: Callable[..., bool]
) -> bool:
    """Tell whether two sequences have a common one; `many` stands for any number of items.

    By the table of which prefixes meet, row by row: O(len(one) * len(other)).
    """
    row = [True]
    for item in other:
        row.append(row[-1] and item == many)
    for left in one:
        above, row = row, [row[0] and left == many]
        for column, right in enumerate(other, 1):
            if many in (left, right):
                # The one that stands for many takes nothing, or one more item of the other.
                row.append(above[column] or row[column - 1])
            else:
                row.append(above[column - 1] and same(left, right))
    return row[-1]


def folder_key(names: Sequence[str]) -> str:
    """Return a folder, by its names, as it begins the line of a claim."""
    return encode_basestring_ascii("/".join(names))[1:-1]


def matches(glob: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether a glob that was written down for the guard matches a path, by its names."""
    plain = 0
    for segment, name in zip(glob, names, strict=False):
        if segment != name:
            break
        plain += 1
    if plain < min(len(glob), len(names)) and glob[plain].isprintable():
        return False  # It stands for itself alone.
    return meet(glob[plain:], names[plain:], DEEP, _same_name)


def _same_name(segment: str, name: str) -> bool:
    return segment == name or meet(segment, name, ANY_NUMBER, _same_character)


def _same_character(one: str, other: str) -> bool:
    return one in {other, ANY_ONE}


class Guard:
    """What the coordinator has told, and who asks.

    Args:
        text: The content of its file.
        holder: Who asks: a worker's name, or that of a shell.
        token: The fencing token of the attempt that asks; 0 where none does.
    """

    def __init__(self, text: str, holder: str, token: int) -> None:
        self._text = text
        self._told = parse(text[: text.index("\n")])
        self._holder = holder
        self._token = token

    def standstill(self) -> str:
        """Return why nothing may be edited at all; empty where it may."""
        if self._told["stopped"]:
            return f"everything is stopped: {self._told['stopped']}"
        live, newest = self._told["live"], self._told["newest"]
        # A newer one is on its way into the file.
        if 0 < self._token <= newest and self._token not in live:
            return f"attempt {self._token} has lost its lease; what it does now will not land"
        return ""

    def obstacle(self, path: str) -> str:
        """Return why a path, relative to the repository's top, may not be edited; empty: it may."""
        names = [name for name in path.split("/") if name]
        for holder, token, claim_id, glob, text in self._near(names):
            is_own = holder == self._holder and (token == self._token or 0 in (token, self._token))
            if not is_own and matches(glob, names):
                return f"{path} is claimed by {holder} ({text}, claim {claim_id})"
        return ""

    def _near(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield the claims that may match a path: those of the folders above it, and its own."""
        for depth in range(len(names) + 1):
            begins = f"\n{folder_key(names[:depth])}\t"
            found = self._text.find(begins)
            while found >= 0:
                end = self._text.index("\n", found + 1)
                yield parse(self._text[found + len(begins) : end])
                found = self._text.find(begins, end)


def check(guard: Guard, paths: Iterable[str]) -> int:
    """Say what may not be edited; return the exit status."""
    standstill = guard.standstill()
    found = [standstill] if standstill else [*filter(None, map(guard.obstacle, paths))]
    for message in found:
        sys.stderr.write(f"coord: {message}\n")
    return BLOCKED if found else FREE


def who(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return who asks, and the fencing token of its attempt or 0."""
    worker = environment.get(_WORKER, "")
    user = environment.get("USER") or environment.get("LOGNAME") or str(os.getuid())
    holder = environment.get(HOLDER) or worker or f"shell-{user}"
    token = environment.get(_TOKEN, "") if holder == worker else ""
    return holder, int(token) if token.isdecimal() else 0


def top_of(path: str) -> str:
    """Return the top of the worktree that a path is in; empty where it is in none."""
    folder = os.path.dirname(path)
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above
    return folder


def inside(path: str, worktree: str) -> str:
    """Return a path relative to its worktree's top; empty where it is outside of the one named."""
    real = os.path.realpath(path)
    top = os.path.realpath(worktree) if worktree else top_of(real)
    return real[len(top) + 1 :] if top and real.startswith(f"{top}/") else ""


def _hook_paths(text: str) -> list[str]:
    """Return the files that a tool of Claude Code is about to write."""
    call = parse(text)
    tool_input = call.get("tool_input") if isinstance(call, dict) else None
    if not isinstance(tool_input, dict):
        raise ValueError("the hook's input has no tool_input")  # noqa: TRY004 - text was read, not an argument.
    folder = str(call.get("cwd") or ".")
    found = (tool_input.get(key) for key in _PATH_KEYS)
    return [os.path.join(folder, path) for path in found if isinstance(path, str)]


def _run(arguments: list[str]) -> int:
    options = {"--file": os.environ.get(FILE, ""), "--as": ""}
    while arguments and arguments[0] in options and len(arguments) > 1:
        options[arguments[0]] = arguments[1]
        arguments = arguments[2:]
    if not (options["--file"] and arguments):
        sys.stderr.write(_USAGE)
        return TROUBLE
    try:
        with open(options["--file"], encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return FREE  # No coordinator runs.
    holder, token = who(os.environ)
    if options["--as"]:
        holder, token = options["--as"], 0
    guard = Guard(text, holder, token)
    if arguments[0] == "--staged":
        return check(guard, filter(None, sys.stdin.read().split("\0")))
    paths = _hook_paths(sys.stdin.read()) if arguments[0] == "--claude" else arguments
    worktree = os.environ.get(_WORKTREE, "")
    return check(guard, filter(None, (inside(path, worktree) for path in paths)))


def main(arguments: list[str]) -> int:
    """Answer the question that the command line asks; return the exit status."""
    try:
        return _run(arguments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"coord: the guard cannot tell: {error}\n")
        return TROUBLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
