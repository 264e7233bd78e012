"""Which claims may meet: resources compared, and an index that finds the few worth comparing."""

from collections.abc import Iterator

from coord.v1 import claims_pb2 as pb
from coord_runtime.globs import Comparison, folders


def common(one: pb.Claim, other: pb.Claim, comparison: Comparison) -> pb.Resource | None:
    """Return a resource of `one` that cannot be held beside one of `other`; None without one.

    Args:
        one: A claim.
        other: Another.
        comparison: Of the request that asks: it bounds how long that may take.
    """
    for resource in one.resources:
        if any(_meet(resource, theirs, comparison) for theirs in other.resources):
            return resource
    return None


def resource_text(resource: pb.Resource) -> str:
    """Return a resource as people write it."""
    text = resource.path or resource.name
    return f"{text} (shared)" if resource.shared else text


def _meet(one: pb.Resource, other: pb.Resource, comparison: Comparison) -> bool:
    if one.shared and other.shared:
        return False
    if one.name or other.name:
        return one.name == other.name
    return comparison.may_meet(one.path, other.path)


class ResourceIndex:
    """Finds claims whose resources may meet, by name and by the folder in which a glob can match.

    Two globs can only meet where the folders that they begin with lie on one line; so a claim is
    kept at its folder in a tree of folders, and `near` looks at those above and below.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}
        self._top = _Folder()

    def add(self, claim: pb.Claim) -> None:
        """Add a claim."""
        for resource in claim.resources:
            if resource.name:
                self._names.setdefault(resource.name, {})[claim.claim_id] = None
            else:
                folder = self._top
                for name in folders(resource.path):
                    folder = folder.inner.setdefault(name, _Folder())
                folder.claims[claim.claim_id] = None

    def remove(self, claim: pb.Claim) -> None:
        """Remove a claim that was added."""
        for resource in claim.resources:
            if resource.name:
                at_name = self._names.get(resource.name, {})
                at_name.pop(claim.claim_id, None)
                if not at_name:
                    self._names.pop(resource.name, None)
            else:
                _remove(self._top, folders(resource.path), claim.claim_id)

    def near(self, claim: pb.Claim) -> dict[str, None]:
        """Return the ids of the claims that are worth a comparison; itself may be among them."""
        found: dict[str, None] = {}
        for resource in claim.resources:
            if resource.name:
                found |= self._names.get(resource.name, {})
            else:
                found |= dict.fromkeys(self._near_path(resource.path))
        return found

    def _near_path(self, glob: str) -> Iterator[str]:
        folder = self._top
        for name in folders(glob):
            yield from folder.claims
            if name not in folder.inner:
                return
            folder = folder.inner[name]
        yield from folder.all()


class _Folder:
    __slots__ = ("claims", "inner")

    def __init__(self) -> None:
        self.claims: dict[str, None] = {}
        self.inner: dict[str, _Folder] = {}

    def all(self) -> Iterator[str]:
        todo = [self]
        while todo:
            folder = todo.pop()
            yield from folder.claims
            todo += folder.inner.values()


def _remove(top: _Folder, names: list[str], claim_id: str) -> None:
    """Take a claim out of its folder, and folders that are empty then out of the tree."""
    way = [top]
    for name in names:
        if name not in way[-1].inner:
            return
        way.append(way[-1].inner[name])
    way[-1].claims.pop(claim_id, None)
    for above, name in zip(reversed(way[:-1]), reversed(names), strict=True):
        folder = above.inner[name]
        if folder.claims or folder.inner:
            return
        del above.inner[name]
