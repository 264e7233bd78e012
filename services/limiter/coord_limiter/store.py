"""What the limiter keeps on disk."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from coord.v1 import limiter_pb2
from coord_runtime.calls import Once

from coord_limiter.ahead import Clocks, Record
from coord_limiter.meter import Limit

# A record's place: bucket and dimension.
Place = tuple[str, str]


@dataclass(frozen=True)
class StoredBucket:
    """A bucket as it is on disk.

    Attributes:
        project: Whose.
        name: Unique in the project.
        limits: By dimension.
        records: By dimension; there is one for each limit.
    """

    project: str
    name: str
    limits: dict[str, Limit]
    records: dict[str, Record]


class LimiterStore(Protocol):
    """The limiter's operations on its store."""

    def buckets(self) -> list[StoredBucket]:
        """Return all buckets of all projects."""

    def bucket(self, project: str, name: str) -> StoredBucket:
        """Return one bucket that is there."""

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

    async def write_ahead(
        self,
        project: str,
        records: Mapping[Place, Record],
        events: Sequence[limiter_pb2.LimiterEvent],
    ) -> None:
        """Replace records and write events. A record without a limit is passed over."""

    def watch(self, project: str, after: int) -> AsyncIterator[list[limiter_pb2.LimiterEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""
