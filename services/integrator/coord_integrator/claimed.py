"""Which changes wait because somebody else claims what they touch.

The guard keeps agents that ask it from such edits; this keeps the others' from landing meanwhile.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import grpc.aio
import structlog
from coord.errors import CoordError
from coord.guard import matches
from coord.v1 import claims_pb2, common_pb2, integrator_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_runtime.globs import folders, written_down
from coord_runtime.peers import ask

from coord_integrator import names
from coord_integrator.merging import Merger, as_text
from coord_integrator.repository import Repository

_LIMIT_S = 5.0
_PAGE_SIZE = 1_000
_UNKNOWN = common_pb2.Reason(
    code="CLAIMED", message="the coordinator has not told yet what is claimed"
)

log = structlog.get_logger(__name__)

Change = integrator_pb2.Change
# Why changes are held back, by id.
Held = Mapping[str, common_pb2.Reason]
# Tells that of changes, in the order in which they were submitted, and the newest landed commit.
HoldBack = Callable[[Sequence[Change], str], Awaitable[Held]]


async def none_claimed(changes: Sequence[Change], tip: str) -> Held:
    """Hold nothing back."""
    del changes, tip
    return {}


@dataclass(frozen=True)
class Touched:
    """The files that a change touches.

    Attributes:
        paths: Each by its names.
        above: Those, and the folders that they are in.
    """

    paths: tuple[tuple[str, ...], ...]
    above: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """Return what there is to know of paths, relative to the repository's top."""
        split = tuple(tuple(path.split("/")) for path in paths)
        above = {path[:depth] for path in split for depth in range(len(path) + 1)}
        return cls(split, frozenset(above))

    def match(self, glob: str) -> str:
        """Return a path that a glob matches; empty where it matches none."""
        if tuple(folders(glob)) not in self.above:
            return ""
        written = written_down(glob)
        return next(("/".join(path) for path in self.paths if matches(written, path)), "")


class Claimed:
    """Knows which changes have to wait for claims.

    Args:
        channel: To the coordinator.
        project: The project.
        repository: Where the changes are.
        merger: Tells what they touch.
    """

    def __init__(
        self, channel: grpc.aio.Channel, project: str, repository: Repository, merger: Merger
    ) -> None:
        self._stub = CoordinatorServiceStub(channel)
        self._project = project
        self._repository = repository
        self._merger = merger
        self._claims: list[claims_pb2.Claim] | None = None
        self._touched: dict[str, Touched] = {}

    async def hold_back(self, changes: Sequence[Change], tip: str) -> Held:
        """Return why changes are neither to be tested nor to land for now, by id.

        Args:
            changes: Those that wait, in the order in which they were submitted.
            tip: The newest landed commit.
        """
        claims = await self._newest() if changes else []
        if claims is None:
            return {change.change_id: _UNKNOWN for change in changes}
        await self._look_at(changes if claims else (), tip)
        return held_back(changes, self._touched, claims)

    async def _newest(self) -> list[claims_pb2.Claim] | None:
        """Return what is claimed, as last heard; None where that was never told."""
        try:
            self._claims = await self._list()
        except CoordError as error:
            if error.code is grpc.StatusCode.UNIMPLEMENTED:  # There is no coordinator.
                return []
            log.warning("claims are not known", error=str(error))
        return self._claims

    async def _list(self) -> list[claims_pb2.Claim]:
        request = claims_pb2.ListClaimsRequest(
            project=self._project, keeps_changes=True, page_size=_PAGE_SIZE
        )
        claims: list[claims_pb2.Claim] = []
        while True:
            page = await ask(self._stub.ListClaims, request, limit_s=_LIMIT_S)
            claims += page.claims
            request.page_token = page.next_page_token
            if not request.page_token:
                return claims

    async def _look_at(self, changes: Sequence[Change], tip: str) -> None:
        """Find out what changes touch, each once."""
        known = self._touched
        self._touched = {
            one.change_id: known.get(one.change_id) or await self._touches(one, tip)
            for one in changes
        }

    async def _touches(self, change: Change, tip: str) -> Touched:
        base = await self._repository.merge_base(change.head_commit, tip)
        extent = await self._merger.extent(base or change.base_commit, change.head_commit)
        return Touched.of(extent.paths)


def held_back(
    changes: Sequence[Change],
    touched: Mapping[str, Touched],
    claims: Sequence[claims_pb2.Claim],
) -> dict[str, common_pb2.Reason]:
    """Return which changes have to wait for claims of others, and why.

    Of changes that touch one another's claims in a circle, one at least goes first.

    Args:
        changes: Those that wait, in the order in which they were submitted.
        touched: What each touches, by its id.
        claims: What is claimed, also for the attempts of these changes.
    """
    waiting = {change.change_id for change in changes}
    at_work = [one for one in claims if _change_of(one) not in waiting]
    held: dict[str, common_pb2.Reason] = {}
    for change in changes:
        if reason := _reason(change, touched, at_work):
            held[change.change_id] = reason
    for change in changes:
        landing = [one for one in claims if _change_of(one) in waiting - held.keys()]
        if reason := _reason(change, touched, landing):
            held.setdefault(change.change_id, reason)
    return held


def _reason(
    change: Change, touched: Mapping[str, Touched], claims: Sequence[claims_pb2.Claim]
) -> common_pb2.Reason | None:
    for claim in claims:
        globs = [] if _is_own(claim, change) else [one.path for one in claim.resources if one.path]
        path = next(filter(None, map(touched[change.change_id].match, globs)), "")
        if path:
            return _claimed(claim, as_text(path))
    return None


def _change_of(claim: claims_pb2.Claim) -> str:
    """Return the id that the change of a claim's attempt has, once there is one."""
    return names.change_id(claim.attempt.task_id, claim.attempt.fencing_token)


def _is_own(claim: claims_pb2.Claim, change: Change) -> bool:
    """Tell whether a claim is of a change's attempt, or of its worker for all its attempts."""
    if not claim.HasField("attempt"):
        return claim.holder == change.worker
    return claim.attempt.fencing_token == change.attempt.fencing_token


def _claimed(claim: claims_pb2.Claim, path: str) -> common_pb2.Reason:
    return common_pb2.Reason(
        code="CLAIMED",
        message=f"{claim.holder} claims {path}; it goes on when that claim has ended",
        metadata={"claim": claim.claim_id, "holder": claim.holder, "path": path},
    )
