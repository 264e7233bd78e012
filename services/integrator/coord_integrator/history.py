"""What the target's history says of a change that lands.

As a merge, the agent's commits stay below a merge commit; squashed, they become one commit;
rebased, each is made anew on the target. Whichever it is, the tree at the end is the same: that of
the merge, which was tested.
"""

from decimal import Decimal
from typing import Literal

from coord_integrator.merging import Merger
from coord_integrator.repository import Repository
from coord_integrator.store import ChangeRow

Style = Literal["merge", "rebase", "squash"]

# Separates the fields of a commit; in none of them.
_FIELD = "%x00"
_FORMAT = _FIELD.join(("%an", "%ae", "%ad", "%B"))


class History:
    """Makes the commits with which changes land."""

    def __init__(self, repository: Repository, merger: Merger, style: Style) -> None:
        self._repository = repository
        self._merger = merger
        self._style = style

    async def commit(self, row: ChangeRow, parent: str, tree: str) -> str:
        """Return the commit with which a change lands on another.

        Args:
            row: The change.
            parent: What it lands on.
            tree: What the two merge to.
        """
        head = row.change.head_commit
        if self._style == "rebase":
            return await self._rebase(row, parent, tree)
        parents = (parent, head) if self._style == "merge" else (parent,)
        return await self._merger.commit(tree, parents, landing_message(row))

    async def _rebase(self, row: ChangeRow, parent: str, tree: str) -> str:
        """Make each of the agent's commits anew, the last with the tree that is tested.

        One that would conflict by itself, or is a merge, becomes part of the one after it.
        """
        own = self._repository.own
        head = row.change.head_commit
        flags = ("--reverse", "--first-parent", "--no-merges", "--topo-order")
        listed = await own.text("rev-list", *flags, head, f"^{parent}")
        *earlier, last = listed.split() or [head]
        top = parent
        for commit in earlier:
            merge = await self._merger.merge(parent, commit, (parent, commit))
            if not merge.conflicts and merge.tree != await self._repository.tree(top):
                top = await self._anew(commit, top, merge.tree)
        return await self._anew(last, top, tree, trailers(row))

    async def _anew(self, commit: str, parent: str, tree: str, ending: str = "") -> str:
        own = self._repository.own
        flags = ("-s", "--date=raw", f"--format={_FORMAT}")
        name, email, date, message = (await own.text("show", *flags, commit)).split("\0", 3)
        author = own.with_variables(
            GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email, GIT_AUTHOR_DATE=date
        )
        text = f"{message.strip()}\n\n{ending}" if ending else message
        return await author.text("commit-tree", tree, "-p", parent, "-F", "-", stdin=text.encode())


def landing_message(row: ChangeRow) -> str:
    """Return the message of the commit that lands a change."""
    title = " ".join(row.title.split()) or f"Land {row.change.attempt.task_id}"
    return f"{title}\n\n{trailers(row)}"


def trailers(row: ChangeRow) -> str:
    """Return the lines of a commit's message that name task, worker, attempt and cost."""
    change = row.change
    lines = [
        f"Coord-Task: {change.attempt.task_id}",
        f"Coord-Worker: {change.worker}",
        f"Coord-Attempt: {change.attempt.fencing_token}",
    ]
    if row.cost.currency:
        amount = Decimal(row.cost.nanos) / 10**9
        lines.append(f"Coord-Cost: {amount:.4f} {row.cost.currency}")
    return "\n".join([*lines, ""])
