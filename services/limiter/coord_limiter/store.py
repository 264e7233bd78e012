"""What the limiter keeps on disk."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coord.v1 import limiter_pb2
from coord_runtime.calls import Once

from coord_limiter.ahead import Clocks, Record
from coord_limiter.bucket import Rules
from coord_limiter.meter import Limit

# A record's place: bucket and dimension.
Place = tuple[str, str]
# Buckets whose names begin so are shared by all projects, and stored under none.
SHARED = "account/"


def owner(project: str, bucket: str) -> str:
    """Return the project under which a bucket is stored."""
    return "" if bucket.startswith(SHARED) else project


@dataclass(frozen=True)
class StoredBucket:
    """A bucket as it is on disk.

    Attributes:
        project: Whose.
        name: Unique in the project.
        limits: By dimension.
        records: By dimension; there is one for each limit.
        rules: What holds beside the limits.
        paused_until_ns: Until when nothing is granted, by the wall clock; 0 for never.
    """

    project: str
    name: str
    limits: dict[str, Limit]
    records: dict[str, Record]
    rules: Rules = field(default_factory=Rules)
    paused_until_ns: int = 0


class LimiterStore(Protocol):
    """The limiter's operations on its store."""

    def buckets(self) -> list[StoredBucket]:
        """Return all buckets of all projects."""

    def bucket(self, project: str, name: str) -> StoredBucket | None:
        """Return one bucket; None where it was removed."""

    async def configure(
        self,
        request: limiter_pb2.ConfigureBucketRequest,
        response: limiter_pb2.ConfigureBucketResponse,
        now: Clocks,
        once: Once | None,
    ) -> limiter_pb2.ConfigureBucketResponse:
        """Create a bucket, full, or change its limits; a dimension that is added begins empty.

        Returns:
            `response`, or the earlier one where the call was a repetition.
        """

    async def remove(
        self, request: limiter_pb2.RemoveBucketRequest, once: Once | None
    ) -> limiter_pb2.RemoveBucketResponse:
        """Remove a bucket."""

    async def write_ahead(
        self,
        project: str,
        records: Mapping[Place, Record],
        events: Sequence[limiter_pb2.LimiterEvent],
        paused: Mapping[str, int],
    ) -> None:
        """Replace records, write events, and pause buckets until times of the wall clock.

        A record without a limit is passed over.
        """

    def watch(self, project: str, after: int) -> AsyncIterator[list[limiter_pb2.LimiterEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""
