"""What the coordinator keeps of sessions: each one's own messages, whatever an earlier one says."""

from pathlib import Path

from coord.environment import SYSTEM
from coord.v1 import coordinator_pb2
from coord_coordinator.outbox import Outbox
from coord_coordinator.session import Session
from coord_coordinator.sqlite import MIGRATIONS, SqliteCoordinatorStore
from coord_coordinator.store import SessionBegun, SessionEnded
from coord_runtime.database import Database, Options


async def test_what_a_session_says_after_its_end_is_no_message_of_the_next_one(
    tmp_path: Path,
) -> None:
    options = Options(SYSTEM, inline=True, synchronous=False, migrations=MIGRATIONS)
    store = SqliteCoordinatorStore(Database(tmp_path / "coordinator.db", options))
    outbox = Outbox(store)
    earlier, later = (Session("w", name, outbox) for name in ("earlier", "later"))
    hello = coordinator_pb2.Hello(worker="w")
    outbox.add(SessionBegun("w", "earlier", hello))
    earlier.push(drain=coordinator_pb2.Drain())
    outbox.add(SessionEnded("w"))
    earlier.end()
    outbox.add(SessionBegun("w", "later", hello))
    earlier.push(drain=coordinator_pb2.Drain())
    for _ in range(2):
        later.push(ack=coordinator_pb2.Ack())
    earlier.acknowledge(2)
    later.push(ack=coordinator_pb2.Ack())
    await outbox.close()
    (stored,) = store.sessions()
    assert [(one.sequence, one.WhichOneof("message")) for one in stored.messages] == [
        (number, "ack") for number in (1, 2, 3)
    ]
    assert [one.sequence for one in later.after(0)] == [1, 2, 3]
    await store.close()
