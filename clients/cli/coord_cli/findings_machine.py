"""What `coord doctor` looks for on the machine: git, room on the disk, agents."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from coord_host.places import Place

from coord_cli.findings import Finding

_GIT_MIN = (2, 39)
_FREE_BYTES_MIN = 2**30
_AGENTS = ("claude", "codex", "aider", "gemini", "opencode")


def machine_findings(place: Place) -> Iterator[Finding]:
    """Look at git's version, the disks and the agents on the PATH."""
    yield from _git_version()
    folders = {_existing(place.state)} | ({place.repo} if place.repo else set())
    for folder in sorted(folders):
        yield from _room(folder)
    if not any(map(shutil.which, _AGENTS)):
        yield Finding(
            f"none of {', '.join(_AGENTS)} is on the PATH",
            "`--agent NAME` needs its command; any other command works as an agent, too",
            "install one, or name your own command with --agent",
            wrong=False,
        )


def _git_version() -> Iterator[Finding]:
    done = subprocess.run(("git", "version"), capture_output=True, text=True, check=False)  # noqa: S607 - the user's own git.
    match = re.search(r"(\d+)\.(\d+)", done.stdout)
    if match is None or (int(match[1]), int(match[2])) < _GIT_MIN:
        yield Finding(
            f"git is too old: {done.stdout.strip()}",
            "Coord merges with `git merge-tree --write-tree`, which came to work with 2.39",
            "install git 2.39 or later",
        )


def _room(folder: Path) -> Iterator[Finding]:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < _FREE_BYTES_MIN:
        yield Finding(
            f"only {free_bytes // 2**20} MiB are free on the disk of {folder}",
            "every worker has a checkout of its own, and what agents did is kept there",
            "free some; `coord clean` removes what has landed",
        )


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())
