"""What `coord doctor` looks for in a project's state folder."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from coord_host.places import Place
from coord_worker.folders import ProcessRecord
from coord_worker.leftovers import end_leftovers
from coord_worker.names import claim
from coord_worker.processes import members

from coord_cli.amounts import count
from coord_cli.crew import work_folder
from coord_cli.findings import Finding

_PRIVATE = 0o600
_OTHERS = 0o077
_GRACE_S = 5.0


def state_findings(place: Place) -> Iterator[Finding]:
    """Look at a state folder; where there is none, nothing has run here yet."""
    if not place.state.is_dir():
        return
    yield from _owner(place.state)
    yield from _key(place.state / "token.key")
    yield from _left_running(work_folder(place))
    for path in sorted(place.state.glob("*/*.db")):
        yield from _store(path)
    yield from _unkept(place.state / "worktrees" / ".unkept")


def _owner(state: Path) -> Iterator[Finding]:
    if state.stat().st_uid != os.getuid():
        yield Finding(
            f"{state} belongs to another user ({state.owner()})",
            "services that you start cannot write there",
            "run Coord as that user, or name another folder with --state",
        )


def _key(path: Path) -> Iterator[Finding]:
    if path.exists() and path.stat().st_mode & _OTHERS:
        yield Finding(
            f"others can read {path} (mode {path.stat().st_mode & 0o777:o})",
            "who reads it can act as the operator",
            "take the others' rights away (mode 600)",
            mend=partial(path.chmod, _PRIVATE),
        )


def _left_running(folder: Path) -> Iterator[Finding]:
    """Look for agents that run on though their worker has died."""
    for attempts in sorted(folder.glob("attempts/*")):
        worker = attempts.name
        claimed = claim(folder, [worker])
        if claimed is None:
            continue
        with claimed:
            records = [ProcessRecord.load(path) for path in attempts.glob("*/processes.json")]
            pids = [one.pid for record in records if record for one in members(record, own=False)]
        if pids:
            yield Finding(
                f"an agent of {worker} runs on without it (processes {', '.join(map(str, pids))})",
                "it may still write to its worktree and spend money",
                "end it; what it has written stays where it is",
                mend=partial(_end, folder, worker),
            )


def _end(folder: Path, worker: str) -> None:
    asyncio.run(end_leftovers(folder, worker, _GRACE_S))


def _store(path: Path) -> Iterator[Finding]:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        yield Finding(
            f"the store {path} is damaged: {answer}",
            "what a service has promised is kept there",
            "end the services, keep a copy of the folder, and try sqlite3's .recover on the copy",
        )


def _unkept(folder: Path) -> Iterator[Finding]:
    left = sorted(folder.iterdir()) if folder.is_dir() else []
    if left:
        yield Finding(
            f"{count(len(left), 'worktree')} could not be kept as a commit, such as {left[0]}",
            "work is there that is nowhere else",
            "take what you want; `coord clean --discard FOLDER` removes one",
            wrong=False,
        )
