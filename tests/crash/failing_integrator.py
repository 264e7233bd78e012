"""The integrator as a process of its own that kills itself at a step of a landing.

python -m tests.crash.failing_integrator STEP [OPTION ...]
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from coord_integrator import checkout, checks
from coord_integrator.git import Git
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.service import IntegratorService
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_runtime.process import serve

_CHECK_S = 0.1

Applies = Callable[..., bool]


def is_landing(*arguments: Any) -> bool:
    return str(arguments[-1]).startswith("land ")


def moves_to(state: int) -> Applies:
    return lambda _, moves, __: any(move.state == state for move in moves.values())


# What is patched, whether the kill comes before or after its effect, and for which calls.
STEPS: dict[str, tuple[Any, str, bool, Applies]] = {
    "during the check": (checks, "run_command", False, lambda *_: True),
    "before the branch moves": (Repository, "move_branch", True, is_landing),
    "after the branch has moved": (Repository, "move_branch", False, is_landing),
    "before that is recorded": (SqliteIntegratorStore, "move_changes", True, moves_to(4)),
    "while the files of the checkout move": (Git, "run", False, lambda *all_: "-u" in all_),
    "after the branch of the checkout has moved": (
        checkout,
        "_move_locked",
        False,
        lambda *_: True,
    ),
    "before the hand-back is recorded": (SqliteIntegratorStore, "move_changes", True, moves_to(5)),
    "after the hand-back was reported": (QueueLink, "report", False, lambda *_: True),
}


def arm(step: str) -> None:
    """Let the first call that is this step be the process's last."""
    owner, name, is_before, applies = STEPS[step]
    original = getattr(owner, name)

    async def deadly(*arguments: Any, **options: Any) -> Any:
        if not applies(*arguments):
            return await original(*arguments, **options)
        if owner is checks:
            running = asyncio.ensure_future(original(*arguments, **options))
            await asyncio.wait({running}, timeout=_CHECK_S)
        elif not is_before:
            await original(*arguments, **options)
        die()

    setattr(owner, name, deadly)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    serve(IntegratorService)
