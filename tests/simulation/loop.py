"""An event loop whose time is virtual: nothing waits, the clock jumps to the next timer."""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

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


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at time 0; `now_s` is its clock.

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

        timer = super().call_at(when, come_due, context=context)
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
