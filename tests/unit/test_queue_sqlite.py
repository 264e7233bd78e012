"""What only the embedded store of the queue has: rows that move, and a memory beside the disk."""

import sqlite3
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from coord.errors import CoordError
from coord.v1 import queue_pb2 as pb
from coord_runtime.database import Database

from tests.queue_stores import Store, ref
from tests.queue_stores import sqlite as opened
from tests.serving import PROJECT


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(opened, tmp_path)
    yield one
    await one.queue.close()


async def test_a_chain_in_an_unlucky_order_is_not_moved_for_each_of_its_edges(
    store: Store,
) -> None:
    ids = [f"t{number}" for number in range(300)]
    await store.add(*(pb.TaskSpec(id=one) for one in ids))
    items = [pb.TaskDependencies(task_id=one, deps=[dep]) for one, dep in pairwise(ids)]
    sql = store.queue._database._sql  # type: ignore[attr-defined]
    before = sql.total_changes
    request = pb.AddDependenciesRequest(project=PROJECT, dependencies=items)
    response = await store.queue.add_dependencies(request, None)
    assert [one.task_id for one in response.results] == ids[:-1]
    assert sql.total_changes - before < 10 * len(ids)
    assert [node.task_id for node in store.order()] == ids[::-1]


async def test_a_report_that_could_not_be_committed_is_taken_when_it_comes_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.add(pb.TaskSpec(id="a"))
    (lease,) = await store.lease()
    request = pb.StartTasksRequest(project=PROJECT, attempts=[ref(lease)])
    with monkeypatch.context() as broken:
        broken.setattr(Database, "_commit", lambda _: sqlite3.OperationalError("disk full"))
        with pytest.raises(CoordError, match="disk full"):
            await store.queue.start(request)
    assert store.state("a") == pb.TASK_STATE_ASSIGNED
    await store.queue.start(request)
    assert store.state("a") == pb.TASK_STATE_RUNNING
