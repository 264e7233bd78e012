"""Where the histories of heads part: their merge bases, for many pairs from one reading."""

from collections.abc import Collection

from coord_integrator.git import Git


class Ancestry:
    """The part of a history in which some heads differ.

    A set of commits is a number with a bit for each, so that what two heads have in common is one
    operation. The bits are in an order in which parents come before children.

    Args:
        git: Runs git in a repository that has them.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._shared = ""
        self._heads: set[str] = set()
        self._commits: list[str] = []
        self._trees: dict[str, str] = {}
        self._reached: dict[str, int] = {}

    async def read(self, heads: Collection[str]) -> None:
        """Read what tells of each two of some commits where they part."""
        if self._heads.issuperset(heads):
            return
        if self._shared:
            await self._add([head for head in heads if head not in self._heads], self._heads)
        if not self._shared or any(not self._has_shared(head) for head in heads):
            await self._begin(heads)

    def tree(self, commit: str) -> str:
        """Return the tree of a merge base, or of a head."""
        return self._trees[commit]

    def bases(self, one: str, other: str) -> tuple[str, ...]:
        """Return the merge bases of two heads: common ancestors that no other one contains."""
        common = self._reached[one] & self._reached[other]
        found = []
        while common:
            newest = self._commits[common.bit_length() - 1]
            found.append(newest)
            common &= ~self._reached[newest]
        return tuple(found)

    async def _begin(self, heads: Collection[str]) -> None:
        self._heads, self._commits, self._trees, self._reached = set(), [], {}, {}
        # What lies before a commit that all of them contain is no merge base of any two.
        self._shared = await self._git.optional("merge-base", "--octopus", *heads) or ""
        limits: list[str] = []
        if self._shared:
            limits = (await self._git.text("rev-parse", f"{self._shared}^@")).split()
        await self._add(heads, limits)

    async def _add(self, heads: Collection[str], known: Collection[str]) -> None:
        lines = [*heads, *(f"^{commit}" for commit in known)]
        stdin = "".join(f"{line}\n" for line in lines).encode()
        flags = ("--topo-order", "--reverse", "--no-commit-header", "--format=%H %T %P", "--stdin")
        found = await self._git.text("rev-list", *flags, stdin=stdin)
        for commit, tree, *parents in (line.split() for line in found.splitlines()):
            reached = 1 << len(self._commits)
            for parent in parents:
                reached |= self._reached.get(parent, 0)
            self._commits.append(commit)
            self._trees[commit], self._reached[commit] = tree, reached
        self._heads.update(heads)

    def _has_shared(self, head: str) -> bool:
        shared = self._reached.get(self._shared, 0)
        return bool(self._reached.get(head, 0) & shared == shared)
