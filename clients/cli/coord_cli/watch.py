"""Watches a plan's files, and takes up the tasks that are added to them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coord.v1 import queue_pb2

from coord_cli.adding import add_plan
from coord_cli.command import Services, UsageProblem
from coord_cli.plan import Plan
from coord_cli.plan_problems import PlanError
from coord_cli.plan_specs import task_specs

_Stamp = list[tuple[str, int, int]]


class PlanWatch:
    """Watches one plan.

    Attributes:
        plan: The plan as it was last found good.
    """

    def __init__(self, plan: Plan, load: Callable[[], Plan]) -> None:
        self.plan = plan
        self._load = load
        self._stamp = _stamp(plan.path)
        self._stored = {spec.id: spec for spec in task_specs(plan)}

    async def look(self, services: Services) -> list[str]:
        """Store what is new in the plan, if its files have changed; return lines for people.

        Raises:
            AioRpcError: The services do not answer. The next look tries again.
        """
        stamp = await asyncio.to_thread(_stamp, self.plan.path)
        if stamp == self._stamp:
            return []
        try:
            lines = await self._take_up(await asyncio.to_thread(self._load), services)
        except (PlanError, UsageProblem) as error:
            lines = [f"the plan as it is now is not taken up: {error}"]
        self._stamp = stamp
        return lines

    async def _take_up(self, plan: Plan, services: Services) -> list[str]:
        if plan.name != self.plan.name:
            raise UsageProblem(f"its name was {self.plan.name!r}; that cannot change in a run")
        specs = {spec.id: spec for spec in task_specs(plan)}
        new = frozenset(specs) - frozenset(self._stored)
        await add_plan(replace(plan, chosen=new), services)
        lines = [f"taken up: {', '.join(sorted(new))}"] if new else []
        lines += _differences(self._stored, specs)
        self.plan = plan
        self._stored |= {name: specs[name] for name in new}
        return lines


def _differences(
    stored: dict[str, queue_pb2.TaskSpec], specs: dict[str, queue_pb2.TaskSpec]
) -> list[str]:
    lines = []
    changed = [name for name, spec in stored.items() if name in specs and specs[name] != spec]
    if changed:
        lines.append(f"stay as they were: {', '.join(changed)}; give changed tasks new ids")
    if gone := [name for name in stored if name not in specs]:
        lines.append(f"no longer in the plan: {', '.join(gone)}; `coord task cancel` ends them")
    return lines


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a plan's file, or a file of its folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            state = file.stat()
        except FileNotFoundError:
            # An editor is about to put a new one in its place.
            continue
        found.append((file.name, state.st_mtime_ns, state.st_size))
    return found
