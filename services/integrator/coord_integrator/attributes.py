"""Lays out the `.gitattributes` files of a tree where git's merge looks for them."""

import asyncio
import shutil
from pathlib import Path

from coord_integrator.repository import Repository


async def lay_out(repository: Repository, tree: str, folder: Path) -> bytes:
    """Write the `.gitattributes` files of a tree, and nothing else, into a folder.

    Returns:
        What git reads of them and of `info/attributes`, the same for the same.
    """
    own = repository.own
    paths = await own.items("ls-tree", "-r", "-z", "--name-only", tree)
    contents = {
        path: (await own.run("cat-file", "blob", f"{tree}:{path}")).stdout
        for path in paths
        if path.rpartition("/")[2] == ".gitattributes"
    }
    await asyncio.to_thread(_write_files, folder, contents)
    info = own.folder / "info" / "attributes"
    return repr((contents, info.read_bytes() if info.is_file() else b"")).encode()


def _write_files(folder: Path, contents: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
