"""Kills limiter and ledger, each served alone, at random moments of full speed.

python -m tests.crash.limits_campaign --kills 100
"""

import argparse
import asyncio
import random
import signal
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from coord.times import MINUTE, SECOND, duration, timestamp_ns
from coord.v1 import common_pb2, ledger_pb2, limiter_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.limiter_pb2_grpc import LimiterServiceStub

from tests.crash.queue_campaign import PROJECT, served_alone

_CLIENTS = 8
_REPEATED = 50
# On a busy machine the first attempt to connect takes too long. Only before the kill: after it,
# such a call would wait for ever.
_PATIENTLY: dict[str, Any] = {"wait_for_ready": True, "timeout": 60}
_CENT = 10**7
_ROOM = 100 * _CENT
_RATE, _BURST = 120_000, 2_000
# Wall and monotonic clocks do not run at quite the same pace.
_CLOCKS = 1.001
_RUN = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")


class Campaign(ABC):
    """Clients at full speed, against a service that is killed again and again."""

    name: str
    stub: Any

    def __init__(self, state: Path, seed: int) -> None:
        self._state = state / self.name
        self.chance = random.Random(seed)
        self.made = 0

    async def run(self, kills: int) -> None:
        """Kill the service so many times; look at what it has said after each."""
        for _ in range(kills):
            async with self._served() as (process, stub):
                await self.check(stub)
                clients = [asyncio.ensure_future(self._work(stub)) for _ in range(_CLIENTS)]
                await asyncio.sleep(self.chance.uniform(0.02, 0.3))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                ended = await asyncio.gather(*clients, return_exceptions=True)
                strange = [one for one in ended if not isinstance(one, grpc.aio.AioRpcError)]
                assert not strange, strange
        async with self._served() as (_, stub):
            await self.check(stub)

    def _served(self) -> Any:
        return served_alone(self._state, program=("-m", f"coord_{self.name}"), stub=self.stub)

    async def _work(self, stub: Any) -> None:
        while True:
            self.made += 1
            await self.work(stub, f"{self.name}-{self.made}")

    @abstractmethod
    async def work(self, stub: Any, name: str) -> None:
        """Do a few things under a name of their own."""

    @abstractmethod
    async def check(self, stub: Any) -> None:
        """Compare what the service knows with what it has said."""


@dataclass
class Said:
    """What the ledger was asked and has said.

    Attributes:
        asked: Calls without an answer yet, by what they are about.
        answered: Calls that have had their effect: repeated, they have no other.
        held: What reservations hold that are known to live.
        posted: The sum of all that was settled and booked.
        excess: By how much settlements were above their reservations.
    """

    asked: dict[str, tuple[str, Any]] = field(default_factory=dict)
    answered: list[tuple[str, Any]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    posted: int = 0
    excess: int = 0


class LedgerCampaign(Campaign):
    """Reserves below a cap, settles, releases and books."""

    name, stub = "ledger", LedgerServiceStub

    def __init__(self, state: Path, seed: int) -> None:
        super().__init__(state, seed)
        self.said = Said()
        self._cap = 0

    async def work(self, stub: Any, name: str) -> None:
        reserving = ledger_pb2.ReservationRequest(
            reservation_id=name, scopes=[_RUN], amount=_usd(10 * _CENT)
        )
        await self._ask(
            stub, f"reserve {name}", ledger_pb2.ReserveFundsRequest, requests=[reserving]
        )
        if name not in self.said.held:
            return
        kind = self.chance.choice(("settle", "settle", "release", "record", "keep"))
        if kind == "settle":
            actual = _usd(self.chance.randrange(12 * _CENT))
            one = ledger_pb2.Settlement(reservation_id=name, actual=actual)
            request: Any = ledger_pb2.SettleReservationsRequest
            await self._ask(stub, f"settle {name}", request, settlements=[one])
        elif kind == "release":
            request = ledger_pb2.ReleaseReservationsRequest
            await self._ask(stub, f"release {name}", request, reservation_ids=[name])
        elif kind == "record":
            cost = ledger_pb2.Cost(entry_id=name, amount=_usd(_CENT), reservation_id=name)
            await self._ask(stub, f"record {name}", ledger_pb2.RecordCostsRequest, costs=[cost])

    async def check(self, stub: Any) -> None:
        """Repeat what has had no answer: then all is known, and nothing has happened twice."""
        asking = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=_RUN)
        await stub.GetBalance(asking, **_PATIENTLY)
        for what, (method, request) in list(self.said.asked.items()):
            await self._call(stub, what, method, request)
        for method, request in self.said.answered[-_REPEATED:]:
            await getattr(stub, method)(request)
        balance = (await stub.GetBalance(asking)).balance
        assert balance.posted.nanos == self.said.posted
        assert balance.pending.nanos == sum(self.said.held.values())
        assert balance.posted.nanos + balance.pending.nanos <= self._cap + self.said.excess
        self._cap = balance.posted.nanos + balance.pending.nanos + _ROOM
        self.said.excess = 0
        capping = ledger_pb2.SetBudgetRequest(project=PROJECT, scope=_RUN, cap=_usd(self._cap))
        await stub.SetBudget(capping)

    async def _ask(self, stub: Any, what: str, make: Any, **content: Any) -> None:
        method = make.__name__.removesuffix("Request")
        request = make(project=PROJECT, **content)
        self.said.asked[what] = (method, request)
        await self._call(stub, what, method, request)

    async def _call(self, stub: Any, what: str, method: str, request: Any) -> None:
        result = (await getattr(stub, method)(request)).results[0]
        assert not result.HasField("error"), result
        call = self.said.asked.pop(what)
        if method != "ReserveFunds" or result.HasField("reservation"):
            self.said.answered.append(call)
        kind, name = what.split(" ")
        getattr(self, f"_{kind}")(name, request, result)

    def _reserve(self, name: str, _: Any, result: ledger_pb2.ReservationResult) -> None:
        if result.HasField("reservation"):
            self.said.held[name] = result.reservation.amount.nanos

    def _settle(self, name: str, request: Any, _: Any) -> None:
        actual = request.settlements[0].actual.nanos
        self.said.excess += max(0, actual - self.said.held.pop(name))
        self.said.posted += actual

    def _release(self, name: str, *_: Any) -> None:
        del self.said.held[name]

    def _record(self, name: str, *_: Any) -> None:
        self.said.held[name] -= _CENT
        self.said.posted += _CENT


class LimiterCampaign(Campaign):
    """Takes tokens, some of them from a line."""

    name, stub = "limiter", LimiterServiceStub

    def __init__(self, state: Path, seed: int) -> None:
        super().__init__(state, seed)
        self.granted: list[tuple[int, int]] = []

    async def work(self, stub: Any, name: str) -> None:
        units = self.chance.choice((1, 50, 300))
        one = limiter_pb2.GrantRequest(
            grant_id=name, buckets=["b"], estimate=limiter_pb2.Quantities(tokens=units)
        )
        wait = duration(self.chance.choice((0, SECOND // 20)))
        request = limiter_pb2.AcquireGrantsRequest(project=PROJECT, requests=[one], wait=wait)
        result = (await stub.AcquireGrants(request)).results[0]
        if result.HasField("grant"):
            self.granted.append((timestamp_ns(result.grant.granted_at), units))

    async def check(self, stub: Any) -> None:
        """In no window was more granted than its bound."""
        limits = limiter_pb2.BucketLimits(
            tokens=limiter_pb2.RateLimit(per_minute=_RATE, burst=_BURST)
        )
        configuring = limiter_pb2.ConfigureBucketRequest(project=PROJECT, name="b", limits=limits)
        await stub.ConfigureBucket(configuring, **_PATIENTLY)
        level, last_ns = float(_BURST), 0
        for at_ns, units in sorted(self.granted):
            level = min(_BURST, level + _RATE * _CLOCKS * (at_ns - last_ns) / MINUTE) - units
            last_ns = at_ns
            assert level > -1, (at_ns, level)


def _usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = LedgerCampaign(Path(folder), arguments.seed)
        asyncio.run(ledger.run(arguments.kills))
        limiter = LimiterCampaign(Path(folder), arguments.seed)
        asyncio.run(limiter.run(arguments.kills))
    print(  # noqa: T201 - what the campaign found.
        f"{arguments.kills} kills each: {ledger.made} reservations tried,"
        f" {ledger.said.posted / 100 / _CENT:.2f} dollars posted; {len(limiter.granted)} grants;"
        " every answer was found true"
    )


if __name__ == "__main__":
    main()
