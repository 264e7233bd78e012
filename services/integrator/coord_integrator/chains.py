"""Merges changes that wait onto a base, one after the other, for a trial.

Each becomes the commit with which it would land. The same change on the same commit is the same
commit whenever it is asked for: so what was tested behind others still is what lands after them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from coord_integrator.history import History
from coord_integrator.merging import Merge, Merger
from coord_integrator.repository import Repository
from coord_integrator.store import ChangeRow


@dataclass(frozen=True)
class LeftOut:
    """A change that is not in a chain.

    Attributes:
        row: The change.
        merge: How it merges; without conflicts where it changes nothing there.
        behind: The change of the chain because of which it is left out; empty for the base itself.
    """

    row: ChangeRow
    merge: Merge
    behind: str = ""


@dataclass(frozen=True)
class Chain:
    """Changes merged onto a base, one after the other.

    Attributes:
        changes: Their ids.
        commit: The last one's commit; the base where there is none.
        left_out: The changes that are not in it.
    """

    changes: tuple[str, ...]
    commit: str
    left_out: tuple[LeftOut, ...]


class Chains:
    """Builds chains.

    Args:
        repository: Where the commits are.
        merger: Merges.
        history: Makes the commits.
        target: What people call the base.
    """

    def __init__(
        self, repository: Repository, merger: Merger, history: History, target: str
    ) -> None:
        self._repository = repository
        self._merger = merger
        self._history = history
        self._target = target
        self._made: dict[tuple[str, str], str] = {}

    async def build(self, base: str, rows: Sequence[ChangeRow]) -> Chain:
        """Merge changes onto a base, leaving out those that do not merge."""
        parent = base
        inside: list[ChangeRow] = []
        left_out: list[LeftOut] = []
        for row in rows:
            made = await self._make(parent, row)
            if isinstance(made, str):
                parent = made
                inside.append(row)
            else:
                behind = await self._culprit(row, inside, made)
                left_out.append(LeftOut(row, made, behind))
        ids = tuple(row.change.change_id for row in inside)
        return Chain(ids, parent, tuple(left_out))

    def commits(self, base: str, changes: Sequence[str]) -> list[str]:
        """Return the commits of a chain that was built.

        Raises:
            KeyError: where none was.
        """
        commits: list[str] = []
        for change_id in changes:
            base = self._made[base, change_id]
            commits.append(base)
        return commits

    def keep_only(self, waiting: Collection[str]) -> None:
        """Forget the commits of changes that wait no more."""
        self._made = {key: made for key, made in self._made.items() if key[1] in waiting}

    async def _make(self, parent: str, row: ChangeRow) -> str | Merge:
        """Return a change's commit on another, or how they merge where there is none."""
        key = (parent, row.change.change_id)
        if key not in self._made:
            labels = (self._target, f"{row.change.attempt.task_id} (this attempt)")
            merge = await self._merger.merge(parent, row.change.head_commit, labels)
            if merge.conflicts or merge.tree == await self._repository.tree(parent):
                return merge
            self._made[key] = await self._history.commit(row, parent, merge.tree)
        return self._made[key]

    async def _culprit(self, row: ChangeRow, inside: Sequence[ChangeRow], merge: Merge) -> str:
        """Return which change of a chain keeps another out of it; empty for the base itself."""
        for other in inside if merge.conflicts else ():
            heads = (other.change.head_commit, row.change.head_commit)
            if (await self._merger.merge(*heads, heads)).conflicts:
                return other.change.change_id
        return inside[-1].change.change_id if inside else ""
