"""Task graphs with uneven durations: random ones, and recorded ones in the WfCommons form."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

_RECORDED = Path(__file__).parents[2] / "tests" / "contract" / "wfcommons.json"


@dataclass(frozen=True)
class Graph:
    """Tasks by number, in a topological order.

    Attributes:
        durations_s: How long each takes.
        deps: Which it waits for.
    """

    durations_s: list[float]
    deps: list[list[int]]

    @cached_property
    def dependents(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.deps]
        for task, deps in enumerate(self.deps):
            for dep in deps:
                found[dep].append(task)
        return found

    @cached_property
    def left_s(self) -> list[float]:
        """How long the longest path takes that begins with each task."""
        found = [0.0] * len(self.deps)
        for task in reversed(range(len(self.deps))):
            after_s = max((found[one] for one in self.dependents[task]), default=0.0)
            found[task] = self.durations_s[task] + after_s
        return found

    @property
    def mean_s(self) -> float:
        return sum(self.durations_s) / len(self.durations_s)

    def bound_s(self, slots: int) -> float:
        """Return the larger of critical path and area."""
        return max(*self.left_s, sum(self.durations_s) / slots)


def bag(chance: Random, tasks: int) -> Graph:
    return Graph(_durations(chance, tasks), [[] for _ in range(tasks)])


def chains(chance: Random, tasks: int) -> Graph:
    """Return chains of 1 to 15 tasks side by side."""
    deps: list[list[int]] = []
    while len(deps) < tasks:
        length = min(chance.randint(1, 15), tasks - len(deps))
        deps += [[]] + [[len(deps) + number] for number in range(length - 1)]
    return Graph(_durations(chance, tasks), deps)


def layers(chance: Random, tasks: int) -> Graph:
    """Return layers of 50 tasks, each of which waits for up to three of the layer before."""
    deps: list[list[int]] = []
    for task in range(tasks):
        begin = (task // 50 - 1) * 50
        before = range(max(begin, 0), begin + 50)
        deps.append(chance.sample(before, chance.randint(1, 3)) if begin >= 0 else [])
    return Graph(_durations(chance, tasks), deps)


def fork_join(chance: Random, tasks: int) -> Graph:
    """Return stages of 49 tasks, each with one task that waits for all of them."""
    deps: list[list[int]] = []
    for task in range(tasks):
        stage, place = divmod(task, 50)
        joined = [stage * 50 - 1] if stage else []
        deps.append(list(range(stage * 50, task)) if place == 49 else joined)
    return Graph(_durations(chance, tasks), deps)


def random(chance: Random, tasks: int) -> Graph:
    """Return a graph whose tasks wait for up to two of the 100 before them."""
    deps = [
        chance.sample(range(max(0, task - 100), task), min(task, chance.choice([0, 1, 1, 2])))
        for task in range(tasks)
    ]
    return Graph(_durations(chance, tasks), deps)


KINDS: dict[str, Callable[[Random, int], Graph]] = {
    "bag": bag,
    "chains": chains,
    "layers": layers,
    "fork and join": fork_join,
    "random": random,
}


def recorded() -> dict[str, Graph]:
    """Return the workflow of the tests, and those of the folder that COORD_WORKFLOWS names."""
    paths = [_RECORDED]
    if folder := os.environ.get("COORD_WORKFLOWS"):
        paths += sorted(Path(folder).glob("*.json"))
    return dict(_read(path) for path in paths)


def _read(path: Path) -> tuple[str, Graph]:
    workflow = json.loads(path.read_text())["workflow"]
    took_s = {one["id"]: one["runtimeInSeconds"] for one in workflow["execution"]["tasks"]}
    tasks = {one["id"]: one["parents"] for one in workflow["specification"]["tasks"]}
    numbers = {task: number for number, task in enumerate(_sorted(tasks))}
    deps = [[numbers[dep] for dep in tasks[task]] for task in numbers]
    return f"{path.stem}, {len(deps)} tasks", Graph([took_s[task] for task in numbers], deps)


def _sorted(tasks: dict[str, Any]) -> Iterator[str]:
    """Yield tasks after those that they wait for."""
    left = {task: set(deps) for task, deps in tasks.items()}
    while left:
        free = [task for task, deps in left.items() if not deps & left.keys()]
        yield from free
        for task in free:
            del left[task]


def _durations(chance: Random, tasks: int) -> list[float]:
    """Return durations of which a tenth takes as long as half of the others together."""
    return [chance.lognormvariate(4.0, 1.0) for _ in range(tasks)]
