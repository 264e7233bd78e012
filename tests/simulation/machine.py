"""Machines: tasks that live, stand still and die together."""

import asyncio
import contextvars
import math
from collections.abc import Coroutine
from typing import Any

from coord_runtime.local import LocalChannel

from tests.simulation.loop import VirtualTimeLoop

_MACHINE: contextvars.ContextVar["Machine | None"] = contextvars.ContextVar("machine", default=None)


class Machine:
    """Tasks that live and die together.

    Attributes:
        went_on_s: When it last went on after it had stood still.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.local: LocalChannel | None = None
        self.went_on_s = -math.inf
        self._parked: list[asyncio.Handle] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine on this machine; what it starts runs here, too."""
        return asyncio.get_running_loop().create_task(work, context=self.context())

    def context(self) -> contextvars.Context:
        """Return a context in which everything runs on this machine."""
        context = contextvars.copy_context()
        context.run(_MACHINE.set, self)
        return context

    def own(self, task: asyncio.Task[Any]) -> None:
        """Count a task as this machine's."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def stand_still(self) -> None:
        """Do nothing any more, as after SIGSTOP."""
        if self._parked is None:
            self._parked = []

    def go_on(self) -> None:
        """Do all that has waited meanwhile."""
        parked, self._parked = self._parked, None
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        if parked is not None:
            self.went_on_s = loop.time()
            loop.go_on(parked)

    def die(self) -> None:
        """End every task where it stands."""
        self.go_on()
        self.alive = False
        for task in list(self._tasks):
            task.cancel()


def parked(context: contextvars.Context) -> list[asyncio.Handle] | None:
    """Return where what runs in a context waits, if its machine stands still."""
    machine = context.get(_MACHINE)
    return machine._parked if machine else None


def task_factory(loop: Any, work: Any, context: Any = None, **_: Any) -> asyncio.Task[Any]:
    """Give each task to the machine in whose context it is made."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    machine = context.get(_MACHINE) if context is not None else _MACHINE.get()
    if machine is not None:
        machine.own(task)
        if not machine.alive:
            task.cancel()
    return task
