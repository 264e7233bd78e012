"""A repository for what nobody has to keep: what the radar reads and merges.

It borrows the objects of Coord's own, which never loses any, and is made anew at each start. So
what the radar writes needs no sync to disk, and does not pile up beside what is kept.
"""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from coord_integrator.repository import Repository

NAME = "radar"


async def open_scratch(repository: Repository) -> Repository:
    """Return a repository that is like another but for Coord's own part of it, which is empty."""
    folder = repository.folder / NAME
    await asyncio.to_thread(_begin_anew, folder)
    path = folder / "repo.git"
    algorithm = await repository.own.text("rev-parse", "--show-object-format")
    own = repository.own.with_variables(GIT_DIR=str(path)).with_options("-c", "core.fsync=none")
    flags = ("--bare", "--quiet", "--template=", f"--object-format={algorithm}")
    await own.run("init", *flags)
    borrowed = path / "objects" / "info" / "alternates"
    borrowed.write_text(f"{repository.own.folder / 'objects'}\n")
    return replace(repository, own=own.at(path), folder=folder)


def _begin_anew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
