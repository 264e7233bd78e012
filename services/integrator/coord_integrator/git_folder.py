"""What lies in a worktree's own git folder, beside its HEAD."""

import shutil
from pathlib import Path

from coord_integrator.git import Git, join

# What an unfinished merge, rebase, cherry-pick, revert or bisect leaves in a worktree's git folder.
_UNFINISHED = (
    "AUTO_MERGE",
    "BISECT_*",
    "CHERRY_PICK_HEAD",
    "MERGE_*",
    "REBASE_HEAD",
    "REVERT_HEAD",
    "SQUASH_MSG",
    "index.lock",
    "HEAD.lock",
    "rebase-apply",
    "rebase-merge",
    "sequencer",
)


def begin_reflog(own_folder: Path) -> None:
    """Let a worktree's reflog tell of one attempt alone; git goes on with one that is there."""
    log = own_folder / "logs" / "HEAD"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"")


def drop_unfinished(own_folder: Path) -> None:
    """Remove what an operation of git has left that did not come to its end."""
    for pattern in _UNFINISHED:
        for path in own_folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


async def trust_no_flags(inside: Git) -> None:
    """Clear the flags by which an index hides that files have changed."""
    entries = await inside.items("ls-files", "-z", "-v")
    flagged = join([entry[2:] for entry in entries if entry[0] == "S" or entry[0].islower()])
    if flagged:
        for flag in ("--no-assume-unchanged", "--no-skip-worktree"):
            await inside.run("update-index", flag, "-z", "--stdin", stdin=flagged)
