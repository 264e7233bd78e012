"""Work in submodules: it would be in no commit of this repository, so it is refused."""

from pathlib import Path

from coord_integrator.git import Git, GitError

_GITLINK = "160000"


async def refuse_work(worktree: Git, base: str) -> None:
    """Refuse what an agent has done inside of a worktree's submodules.

    Another published commit of a submodule is no such work: it lands as a link.

    Args:
        worktree: Runs git in the worktree; one that git does not know has no submodules.
        base: The commit that the worktree started from.

    Raises:
        GitError: A submodule has changes, or commits that its remote does not have.
    """
    try:
        entries = await worktree.items("ls-files", "-z", "-s")
    except (GitError, OSError):
        return
    links = [entry.split("\t", 1)[1] for entry in entries if entry.startswith(_GITLINK)]
    for path in links:
        folder = worktree.folder / path
        if (folder / ".git").exists() and await _has_work(worktree, folder, f"{base}:{path}"):
            message = (
                f"the submodule {path} has changes of its own, which cannot land with this"
                " repository: publish them in the submodule's repository first"
            )
            raise GitError(("submodule", "status"), 1, message)


async def _has_work(worktree: Git, folder: Path, link: str) -> bool:
    module = worktree.at(folder)
    if await module.text("status", "--porcelain"):
        return True
    head = await module.optional("rev-parse", "--verify", "--quiet", "HEAD")
    began = await worktree.optional("rev-parse", "--verify", "--quiet", link)
    if head is None or head == began:
        return False
    return not await module.text("for-each-ref", "--count=1", f"--contains={head}", "refs/remotes")
