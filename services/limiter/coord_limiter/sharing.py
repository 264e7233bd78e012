"""Buckets that are shared by all projects, and those that are one project's own."""

from collections.abc import Iterable, Iterator, MutableMapping

from coord_limiter.bucket import Bucket
from coord_limiter.store import SHARED


class Buckets(MutableMapping[str, Bucket]):
    """A project's buckets by name, with those that it shares.

    Args:
        shared: The buckets of all projects.
    """

    def __init__(self, shared: MutableMapping[str, Bucket]) -> None:
        self._shared = shared
        self._own: dict[str, Bucket] = {}

    def __getitem__(self, name: str) -> Bucket:
        return self._of(name)[name]

    def __setitem__(self, name: str, bucket: Bucket) -> None:
        self._of(name)[name] = bucket

    def __delitem__(self, name: str) -> None:
        del self._of(name)[name]

    def named(self, names: Iterable[str]) -> list[Bucket]:
        """Return those of the buckets that are there, in an order that is always the same."""
        found = (self._of(name).get(name) for name in sorted(names))
        return [bucket for bucket in found if bucket is not None]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._shared

    def __len__(self) -> int:
        return len(self._own) + len(self._shared)

    def _of(self, name: str) -> MutableMapping[str, Bucket]:
        return self._shared if name.startswith(SHARED) else self._own
