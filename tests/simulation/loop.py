"""An event loop whose time is virtual: nothing waits, the clock jumps to the next timer."""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Self, TypeVar, TypeVarTuple

_RESOLUTION_S = 1e-9

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _NoFiles(selectors.BaseSelector):
    """Waits for no file: a wait is a jump of the clock."""

    def __init__(self) -> None:
        self.loop: VirtualTimeLoop | None = None
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[fileobj] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Any:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert self.loop is not None
        if timeout is None:
            raise RuntimeError("deadlock: every task waits for another one, and no timer is set")
        self.loop.now_s += max(0.0, timeout)
        return []


class _Moment(float):
    """When a timer comes due; of those due at once, the one that was set first is the earlier."""

    _turn: int

    def __new__(cls, when_s: float, turn: int) -> Self:
        moment = super().__new__(cls, when_s)
        moment._turn = turn
        return moment

    def __lt__(self, other: float) -> bool:
        if isinstance(other, _Moment) and self == other:
            return self._turn < other._turn
        return super().__lt__(other)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at time 0; `now_s` is its clock.

    What is due when depends on nothing but what was set when: not on how fine this machine's clock
    is, nor on how many other timers there are or were.

    Attributes:
        parked: Where what runs in a context waits while all in it stands still; None while that
            goes on.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.parked: Callable[[contextvars.Context], list[asyncio.Handle] | None] = lambda _: None
        selector = _NoFiles()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = _RESOLUTION_S
        self._turns = count()

    def time(self) -> float:
        return self.now_s

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        context = context or contextvars.copy_context()
        parked = self.parked(context)
        if parked is None:
            return super().call_soon(callback, *args, context=context)
        parked.append(asyncio.Handle(callback, args, self, context))
        return parked[-1]

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        context = context or contextvars.copy_context()

        def come_due() -> None:
            parked = self.parked(context)
            if parked is None:
                callback(*args)
            else:
                parked.append(timer)

        moment = _Moment(when, next(self._turns))
        timer = super().call_at(moment, come_due, context=context)
        return timer

    def go_on(self, parked: list[asyncio.Handle]) -> None:
        """Run what has waited, in its order, but for what is cancelled meanwhile."""
        for handle in parked:
            super().call_soon(self._run_unless_cancelled, handle)

    @staticmethod
    def _run_unless_cancelled(handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
