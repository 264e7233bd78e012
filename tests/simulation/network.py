"""An in-memory network that delays, drops, repeats and cuts."""

import asyncio
import contextvars
import hashlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from zlib import crc32

import grpc
import grpc.aio
from coord.client import TokenChannel
from coord.errors import CoordError
from coord_runtime.local import LocalChannel, rpc_error

from tests.simulation.machine import Machine

_TAIL = 60
_HEAL_S = 0.5
_MOMENT_S = 1.0
_LATE_S_MAX = 30.0
# Longer than the grace of the simulated coordinator: some workers are given up.
_STALL_S_MAX = 15.0


@dataclass
class Faults:
    """How bad the network is; all zero is a good one.

    Attributes:
        delay_s: Longest delay of a message.
        drop: Chance that a request is lost, and the same for an answer.
        repeat: Chance that a request arrives twice.
        late: Chance that a service's request arrives again when its answer is there long since.
        cut_s: Mean life of a stream; 0 for ever.
        dead: Chance that a stream's end is not an error, but one direction that carries nothing any
            more: half-open.
        stall_s: Mean time until one direction of a stream stands still for a while; 0 for never.
    """

    delay_s: float = 0.0
    drop: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    cut_s: float = 0.0
    dead: float = 0.0
    stall_s: float = 0.0


class Trace:
    """What has happened, as one number, and the last of it as text.

    Attributes:
        steps: How many lines there were.
        tail: The last ones.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self._hash = hashlib.sha256()

    def add(self, line: str) -> None:
        self.steps += 1
        self.tail.append(line)
        self._hash.update(line.encode())

    def digest(self) -> str:
        """Return the same for the same lines only."""
        return self._hash.hexdigest()


class Network:
    """Connects machines by name.

    Attributes:
        faults: How bad it is now.
        machines: What is reachable.
        apart: Those that no message reaches from others; the time stands still between them.
        answered: Told method, request and answer of each call as it leaves its service.
        trace: What has happened.
        injected: How many faults there were, by kind.
        broken: Promises that were seen broken.
    """

    def __init__(self, chance: Random) -> None:
        self.faults = Faults()
        self.machines: dict[str, Machine] = {}
        self.apart: dict[str, None] = {}
        self.answered: Callable[[str, Any, Any], None] = lambda *_: None
        self.trace = Trace()
        self.injected: Counter[str] = Counter()
        self.broken: list[str] = []
        self.chance = chance

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.add(f"{asyncio.get_running_loop().time():.6f} {what}")

    def inject(self, kind: str, what: str = "") -> None:
        """Count a fault, and note it."""
        self.injected[kind] += 1
        self.note(f"{kind} {what}")

    def channel(self, name: str, token: str, caller: Machine) -> grpc.aio.Channel:
        """Return a channel from a machine to the one with this name."""
        return TokenChannel(_Channel(self, name, caller), token)

    def target(self, name: str) -> Machine:
        """Return the machine at present, or raise UNAVAILABLE."""
        machine = self.machines.get(name)
        if machine is None or not machine.alive or machine.local is None:
            raise unavailable(f"{name} is down")
        return machine

    def run_nowhere(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that dies with no machine."""
        asyncio.get_running_loop().create_task(work, context=contextvars.Context())

    async def carry(self, one: str, other: str, limit_s: float | None = None) -> None:
        """Take the time that a message takes; lose it by chance."""
        if self.faults.delay_s:
            await asyncio.sleep(self.chance.uniform(0, self.faults.delay_s))
        if self.chance.random() < self.faults.drop:
            self.inject("drop")
            raise unavailable("lost on the way")
        if self.is_cut(one, other):
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self.passable(one, other)
            raise unavailable("lost between parts of the network")

    def has_just_gone_on(self, name: str) -> bool:
        """Tell whether a machine had stood still until a moment ago."""
        machine = self.machines.get(name)
        now_s = asyncio.get_running_loop().time()
        return machine is not None and now_s - machine.went_on_s < _MOMENT_S

    def is_cut(self, one: str, other: str) -> bool:
        """Tell whether nothing goes between two machines."""
        return (one in self.apart) != (other in self.apart)

    async def passable(self, one: str, other: str) -> None:
        """Wait until messages go between two machines."""
        while self.is_cut(one, other):
            await asyncio.sleep(_HEAL_S)


class _Channel(LocalChannel):
    """A channel through the network."""

    def __init__(self, network: Network, name: str, caller: Machine) -> None:
        self._network = network
        self._name = name
        self._caller = caller

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        async def call(
            request: Any, *, timeout: float | None = None, metadata: Any = (), **_: Any
        ) -> Any:
            if not self._caller.alive:
                raise asyncio.CancelledError
            network, ends = self._network, (self._caller.name, self._name)
            content = crc32(request.SerializeToString(deterministic=True))
            network.note(f"{self._caller.name} -> {self._name} {method} {content:08x}")
            await network.carry(*ends, timeout)
            if network.chance.random() < network.faults.repeat:
                network.inject("repeat")
                await self._send(method, request, timeout, metadata)
            if self._caller.local and network.chance.random() < network.faults.late:
                network.run_nowhere(self._arrive_late(method, request, timeout, metadata))
            answer = await self._send(method, request, timeout, metadata)
            await network.carry(*ends, timeout)
            return answer

        return call

    async def _arrive_late(
        self, method: str, request: Any, limit_s: float | None, metadata: Any
    ) -> None:
        await asyncio.sleep(self._network.chance.uniform(0, _LATE_S_MAX))
        self._network.inject("late", method)
        with suppress(grpc.aio.AioRpcError):
            await self._send(method, request, limit_s, metadata)

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        def call(request: Any, *, metadata: Any = (), **_: Any) -> Any:
            def start(local: LocalChannel) -> Any:
                return local.unary_stream(method)(request, metadata=metadata)

            return _Stream(self._network, (self._caller.name, self._name), start)

        return call

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        def call(requests: Any = None, *, metadata: Any = (), **_: Any) -> Any:
            del requests

            def start(local: LocalChannel) -> Any:
                return local.stream_stream(method)(metadata=metadata)

            return _Stream(self._network, (self._caller.name, self._name), start)

        return call

    async def _send(self, method: str, request: Any, limit_s: float | None, metadata: Any) -> Any:
        machine = self._network.target(self._name)
        assert machine.local is not None
        serving = machine.run(self._serve(machine.local, method, request, limit_s, metadata))
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(serving)
        except TimeoutError:
            raise _too_late(method) from None
        except asyncio.CancelledError:
            # Who dies at the same moment hears of nothing any more.
            if serving.cancelled() and not machine.alive and not _is_cancelled():
                raise unavailable(f"{self._name} died") from None
            raise

    async def _serve(
        self, local: LocalChannel, method: str, request: Any, limit_s: float | None, metadata: Any
    ) -> Any:
        answer = await local.unary_unary(method)(request, timeout=limit_s, metadata=metadata)
        self._network.answered(method.rpartition("/")[2], request, answer)
        return answer


class _Stream:
    """The caller's end of a stream through the network."""

    def __init__(
        self, network: Network, ends: tuple[str, str], start: Callable[[LocalChannel], Any]
    ) -> None:
        self._network = network
        self._ends = ends
        self._name = name = ends[1]
        self._inner: Any = None
        self._machine: Machine | None = None
        machine = network.machines.get(name)
        reachable = not network.is_cut(*ends)
        if reachable and machine is not None and machine.alive and machine.local is not None:
            self._machine = machine
            self._inner = machine.context().run(start, machine.local)
        self._fates: list[asyncio.TimerHandle] = []
        self._cut = False
        self._dead: set[str] = set()
        self._stalled_until_s = {"read": 0.0, "write": 0.0}
        self._expect(network.faults.cut_s, self._end)
        self._expect(network.faults.stall_s, self._stall)

    async def read(self) -> Any:
        await self._delay()
        message = await self._guarded("read")
        await self._pass("read")
        if "read" in self._dead:
            await asyncio.Event().wait()
        return message

    async def write(self, message: Any) -> None:
        await self._delay()
        await self._pass("write")
        if "write" not in self._dead or self._cut:
            await self._guarded("write", message)

    async def done_writing(self) -> None:
        if "write" not in self._dead:
            await self._guarded("done_writing")

    def cancel(self) -> bool:
        for fate in self._fates:
            fate.cancel()
        self._cut = True
        if "write" in self._dead:  # Nobody hears of it.
            return False
        return self._inner is not None and self._inner.cancel()

    def _expect(self, mean_s: float, fate: Callable[[], Any]) -> None:
        if mean_s:
            after_s = self._network.chance.expovariate(1 / mean_s)
            self._fates.append(asyncio.get_running_loop().call_later(after_s, fate))

    def _end(self) -> None:
        if self._network.chance.random() < self._network.faults.dead:
            self._network.inject("half-open")
            self._dead.add(self._network.chance.choice(("read", "write")))
        else:
            self._network.inject("cut")
            self.cancel()

    def _stall(self) -> None:
        self._network.inject("stall")
        direction = self._network.chance.choice(("read", "write"))
        until_s = asyncio.get_running_loop().time() + self._network.chance.uniform(0, _STALL_S_MAX)
        self._stalled_until_s[direction] = until_s

    async def _pass(self, direction: str) -> None:
        left_s = self._stalled_until_s[direction] - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)
        await self._network.passable(*self._ends)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def _delay(self) -> None:
        if self._network.faults.delay_s:
            await asyncio.sleep(self._network.chance.uniform(0, self._network.faults.delay_s))

    async def _guarded(self, use: str, *arguments: Any) -> Any:
        if self._inner is None or self._cut:
            raise unavailable(f"no connection to {self._name}")
        try:
            return await getattr(self._inner, use)(*arguments)
        except grpc.aio.AioRpcError:
            if self._cut or self._machine is None or not self._machine.alive:
                raise unavailable(f"the connection to {self._name} broke") from None
            raise


def _is_cancelled() -> bool:
    """Tell whether the task itself is, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _too_late(method: str) -> grpc.aio.AioRpcError:
    message = f"{method} took too long"
    return rpc_error(CoordError(grpc.StatusCode.DEADLINE_EXCEEDED, "TRANSPORT", message))


def unavailable(message: str) -> grpc.aio.AioRpcError:
    """Return the error of a broken connection."""
    return rpc_error(CoordError(grpc.StatusCode.UNAVAILABLE, "TRANSPORT", message))
