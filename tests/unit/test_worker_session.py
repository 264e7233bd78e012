"""The coordinator's end of a conversation, and what is kept of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.fleet import Fleet
from coord_coordinator.outbox import Outbox
from coord_coordinator.session import Session
from coord_coordinator.store import MessageSent, SessionBegun, SessionChange, SessionEnded

from tests.serving import Clock


class Store:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[SessionChange] = []

    async def change_sessions(self, changes: Sequence[SessionChange]) -> None:
        self.told += changes


async def test_nothing_is_kept_of_what_is_said_in_a_session_that_has_ended() -> None:
    store: Any = Store()
    fleet = Fleet("p", Clock().environment(), store)
    hello = pb.Hello(worker="w", instance="w-1")
    earlier = fleet.join(hello)
    fleet.forget(earlier)
    later = fleet.join(hello)
    earlier.session.push(ack=pb.Ack())
    earlier.session.await_answer("1", rate_request=pb.RateRequest(rate_id="1"))
    earlier.session.answered("1")
    later.session.push(drain=pb.Drain())
    await fleet.close()
    assert [type(one) for one in store.told] == [
        SessionBegun,
        SessionEnded,
        SessionBegun,
        MessageSent,
    ]
    assert [one.sequence for one in later.session.after(0)] == [1]


async def test_what_is_said_can_be_sent_once_it_is_kept() -> None:
    store: Any = Store()
    session = Session("w", "s", Outbox(store))
    session.push(ack=pb.Ack())
    assert not session.after(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [one.sequence for one in session.after(0)] == [1]
