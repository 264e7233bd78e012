"""Stores on a disk that takes its time: what is not committed when the process dies is gone."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coord_runtime.database import Database, Options
from coord_runtime.service import ServiceContext

from tests.simulation.git import Repository


@dataclass
class SimulatedContext(ServiceContext):
    """What a simulated service is given beside the usual.

    Attributes:
        repository: The git, which outlives the integrator.
        is_full: Tells whether the disk is full.
        commit_s: Longest time that a commit takes; 0 for none at all.
        opened: What ends with the process: `crash` is called on it.
    """

    repository: Repository | None = None
    is_full: Callable[[], bool] = lambda: False
    commit_s: float = 0.0
    opened: list[Any] = field(default_factory=list)

    async def open_database(self, migrations: Sequence[str]) -> Database:
        # A crash of the process needs no sync to disk; the traced run looks after that.
        options = Options(self.environment, inline=True, synchronous=False, migrations=migrations)
        path = self.folder / f"{self.name}.db"
        if self.commit_s:
            database: Database = _SlowDatabase(path, options, self)
        else:
            database = Database(path, options)
        self.opened.append(database)
        return database


class _SlowDatabase(Database):
    """Commits on the event loop, some time after the operations have run."""

    def __init__(self, path: Any, options: Options, context: SimulatedContext) -> None:
        super().__init__(path, replace(options, inline=True))
        self._inline = False
        disk: Any = _Disk(self, context)
        self._commits = disk


class _Disk:
    """What stands for the thread that commits."""

    def __init__(self, database: Database, context: SimulatedContext) -> None:
        self._database = database
        self._context = context

    def put(self, group: Any) -> None:
        after_s = self._context.environment.random.uniform(0, self._context.commit_s)
        asyncio.get_running_loop().call_later(after_s, self._commit, group)

    def _commit(self, group: Any) -> None:
        if self._database._closed:
            return
        if self._context.is_full():
            self._database._committed(group, sqlite3.OperationalError("the disk is full"))
        else:
            self._database._committed(group, self._database._commit())
