"""A batch comes to what its items come to one after another, also where many of them are alike."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coord.v1 import ledger_pb2

from tests.simulation.test_ledger_history import RUN, SCOPES, TASKS, World, _events, usd

Reserve = ledger_pb2.ReservationRequest
Settle = ledger_pb2.Settlement


def wanted(number: int, nanos: int, pick: int) -> Reserve:
    request = Reserve(reservation_id=f"r{number}", amount=usd(nanos))
    if pick == 0:
        request.within = f"r{number // 2}"
    else:
        request.scopes.extend([RUN, TASKS[pick % 2]][: 1 + pick % 3])
    if pick % 4 == 3:
        request.min_amount.CopyFrom(usd(1))
        request.ttl.seconds = 2_000
    return request


def settled(number: int, nanos: int) -> Settle:
    return Settle(reservation_id=f"r{number}", actual=usd(nanos))


async def batch(world: World, method: str, items: Sequence[Any], size: int) -> list[Any]:
    """Send items, so many a call; return the results."""
    results: list[Any] = []
    for begin in range(0, len(items), size):
        part = items[begin : begin + size]
        request = (
            ledger_pb2.ReserveFundsRequest(project="p", requests=part)
            if method == "reserve_funds"
            else ledger_pb2.SettleReservationsRequest(project="p", settlements=part)
        )
        results += (await world.send(method, request)).results
    return results


async def seen(world: World) -> list[Any]:
    """Return all that can be seen of a ledger, without the ids that it has made by chance."""
    found: list[Any] = []
    for event in _events(world.ledger):
        if event.WhichOneof("kind") == "cost_posted":
            event.cost_posted.entry.entry_id = ""
        found.append(event)
    for scope in SCOPES:
        listing = ledger_pb2.ListEntriesRequest(project="p", scope=scope, page_size=3)
        while True:
            page = await world.send("list_entries", listing)
            found += [(entry.reservation_id, entry.amount.nanos) for entry in page.entries]
            listing.page_token = page.next_page_token
            if not page.next_page_token:
                break
        request = ledger_pb2.GetBalanceRequest(project="p", scope=scope)
        found.append((await world.send("get_balance", request)).balance)
    return found


async def live(steps: Sequence[Sequence[Any]], folders: tuple[Path, Path]) -> None:
    worlds = [World(folder) for folder in folders]
    for world in worlds:
        world.folder.mkdir()
        await world.open()
    for action, first, length, nanos, pick in steps:
        numbers = list(range(first, first + length))
        repeated = [*numbers[: pick % 2], *numbers]
        answers: list[Any] = []
        for world, size in zip(worlds, (1_000, 1), strict=True):
            if action == "cap":
                await world.cap(nanos * 4, pick)
            elif action == "expire":
                world.now += nanos * 10**12
                await world.ledger.expire_reservations()
            elif action == "reserve":
                asked = [wanted(one, nanos, pick) for one in repeated]
                answers.append(await batch(world, "reserve_funds", asked, size))
            else:
                ended = [settled(one, nanos) for one in repeated]
                answers.append(await batch(world, "settle_reservations", ended, size))
        assert not answers or answers[0] == answers[1]
        if pick == 1:
            worlds[0].ledger._store._database.crash()  # type: ignore[attr-defined]  # SQLite's store, behind the service
            worlds[0].made += 1
            await worlds[0].open()
    together, alone = [await seen(world) for world in worlds]
    assert together == alone
    for world in worlds:
        await world.ledger.stop()


@pytest.mark.parametrize("seed", range(8))
async def test_a_batch_comes_to_what_its_items_come_to(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    actions = ["reserve"] * 4 + ["settle"] * 4 + ["cap", "expire"]
    steps = [
        (random.choice(actions), *map(random.randint, (0, 1, 1, 0), (30, 9, 6, 5)))
        for _ in range(24)
    ]
    steps[:0] = [("cap", 0, 1, 2 + seed, 0), ("cap", 0, 1, 4 + seed, 1)]
    await live(steps, (tmp_path / "together", tmp_path / "alone"))
