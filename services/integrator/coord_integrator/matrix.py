"""Which heads conflict with which: of all pairs, only those of moved heads are judged anew."""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coord.v1 import common_pb2

from coord_integrator.ancestry import Ancestry
from coord_integrator.footprints import Footprints
from coord_integrator.pair_merge import PairMerger, Verdict
from coord_integrator.repository import Repository

TARGET = ""
_CACHE_MAX = 100_000

Pair = tuple[str, str]


@dataclass(frozen=True)
class Head:
    """What is compared: what is in a worktree, or the target.

    Attributes:
        name: The worker's; `TARGET` for the target.
        head: The commit that it stands on.
        commit: A commit with its files, whose parent is `head`; `head` itself where they are equal.
        tree: Its files.
        attempt: The attempt that the worktree serves; None for the target.
    """

    name: str
    head: str
    commit: str
    tree: str
    attempt: common_pb2.AttemptRef | None = None

    @property
    def standing(self) -> tuple[str, str]:
        """What a verdict depends on."""
        return self.head, self.tree


@dataclass
class Counts:
    """What became of pairs.

    Attributes:
        apart: Those that the filter has found to be clean.
        cached: Those whose verdict was known.
        merged: Those that git has merged.
    """

    apart: int = 0
    cached: int = 0
    merged: int = 0


class Matrix:
    """Judges all pairs of heads, as git would merge them.

    Attributes:
        heads: The heads, by name.
        conflicts: The pairs that conflict; the first of their names is the smaller one.
        counts: What became of all pairs that were to be judged so far.
    """

    def __init__(self, repository: Repository, mark: str) -> None:
        self.heads: dict[str, Head] = {}
        self.conflicts: dict[Pair, Verdict] = {}
        self.counts = Counts()
        self.merger = PairMerger(repository)
        self.footprints = Footprints(repository.own, mark)
        self._ancestry = Ancestry(repository.own)
        self._attributes = b""
        self._cache: OrderedDict[object, Verdict] = OrderedDict()

    async def update(self, heads: Mapping[str, Head], attributes_of: str) -> None:
        """Take these heads for the ones there are.

        Args:
            heads: The heads, by name.
            attributes_of: The tree whose `.gitattributes` hold in all merges.
        """
        attributes = await self.merger.adopt_attributes(attributes_of)
        moved = {name for name, head in heads.items() if self._has_moved(head)}
        if attributes != self._attributes:
            moved = set(heads)
        pairs = [pair for pair in _pairs(heads) if not moved.isdisjoint(pair)]
        verdicts = await self._judge(heads, pairs, attributes)
        stay = {
            pair: verdict
            for pair, verdict in self.conflicts.items()
            if moved.isdisjoint(pair) and heads.keys() >= set(pair)
        }
        self.conflicts = dict(sorted((stay | verdicts).items()))
        self.heads, self._attributes = dict(heads), attributes

    async def close(self) -> None:
        """End the processes that answer."""
        await self.merger.close()
        await self.footprints.close()

    def _has_moved(self, head: Head) -> bool:
        known = self.heads.get(head.name)
        return known is None or known.standing != head.standing

    async def _judge(
        self, heads: Mapping[str, Head], pairs: list[Pair], attributes: bytes
    ) -> dict[Pair, Verdict]:
        """Return the conflicts among some pairs of heads."""
        if not pairs:
            return {}
        bases = await self._bases(heads, pairs)
        near = await self._near(heads, bases)
        keys = {pair: self._key(heads, pair, bases[pair], attributes) for pair in near}
        unknown = {key: pair for pair, key in keys.items() if key not in self._cache}
        commits = [(heads[one].commit, heads[other].commit) for one, other in unknown.values()]
        merged = await self.merger.merge(commits)
        self._remember(zip(unknown, merged, strict=True))
        self.counts.apart += len(pairs) - len(near)
        self.counts.cached += len(near) - len(unknown)
        self.counts.merged += len(unknown)
        verdicts = {pair: self._cache.get(key) for pair, key in keys.items()}
        return {pair: one for pair, one in verdicts.items() if one and not one.clean}

    async def _bases(
        self, heads: Mapping[str, Head], pairs: list[Pair]
    ) -> dict[Pair, tuple[str, ...]]:
        commits = dict.fromkeys(head.head for head in heads.values())
        await self._ancestry.read(commits)
        return {
            (one, other): self._ancestry.bases(heads[one].head, heads[other].head)
            for one, other in pairs
        }

    async def _near(
        self, heads: Mapping[str, Head], bases: Mapping[Pair, tuple[str, ...]]
    ) -> list[Pair]:
        """Return the pairs that the filter cannot tell apart.

        Where there are several bases, git merges them first, and where there is none, it compares
        with nothing: what a head changes is not known then.
        """
        single = {
            pair: tuple((self._ancestry.tree(base), heads[name].tree) for name in pair)
            for pair, (base, *more) in ((pair, found or ("", "")) for pair, found in bases.items())
            if not more
        }
        wanted = dict.fromkeys(itertools.chain.from_iterable(single.values()))
        known = await self.footprints.read(wanted)
        return [
            pair
            for pair in bases
            if pair not in single or known[single[pair][0]].may_collide(known[single[pair][1]])
        ]

    def _key(
        self, heads: Mapping[str, Head], pair: Pair, bases: tuple[str, ...], attributes: bytes
    ) -> object:
        return bases, tuple(heads[name].tree for name in pair), attributes

    def _remember(self, found: Iterable[tuple[object, Verdict | None]]) -> None:
        for key, verdict in found:
            if verdict is not None:
                self._cache[key] = verdict
        while len(self._cache) > _CACHE_MAX:
            self._cache.popitem(last=False)


def _pairs(names: Iterable[str]) -> Iterable[Pair]:
    return itertools.combinations(sorted(names), 2)
