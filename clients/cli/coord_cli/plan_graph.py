"""What can be wrong with the dependencies of a plan, found before anything is started."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

_SHOWN_MAX = 20


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the most similar name, to end a sentence with; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def cycles(deps: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return a cycle for each knot of tasks that wait for one another, first id repeated last."""
    left = _without_free(deps)
    found: list[list[str]] = []
    while left:
        cycle = _follow(next(iter(left)), left)
        found.append(cycle)
        left = _without_free({task: left[task] for task in left if task not in cycle})
    return found


def _without_free(deps: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the tasks that are in a cycle or wait for one, each with those that it waits for."""
    left = {
        task: [dep for dep in set(task_deps) if dep in deps] for task, task_deps in deps.items()
    }
    waiting_for: dict[str, list[str]] = {task: [] for task in left}
    for task, task_deps in left.items():
        for dep in task_deps:
            waiting_for[dep].append(task)
    counts = {task: len(task_deps) for task, task_deps in left.items()}
    free = [task for task, count in counts.items() if not count]
    while free:
        task = free.pop()
        del left[task]
        for other in waiting_for[task]:
            counts[other] -= 1
            if not counts[other]:
                free.append(other)
    return {task: [dep for dep in left[task] if dep in left] for task in left}


def _follow(start: str, left: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the cycle that a walk along the dependencies runs into."""
    path, seen = [start], {start: 0}
    while True:
        dep = left[path[-1]][0]
        path.append(dep)
        if dep in seen:
            return path[seen[dep] :]
        seen[dep] = len(path) - 1


def show_cycle(cycle: Sequence[str]) -> str:
    """Return a cycle as `a -> b -> a`; a long one with its middle left out."""
    if len(cycle) <= _SHOWN_MAX:
        return " -> ".join(cycle)
    half = _SHOWN_MAX // 2
    shown = (*cycle[:half], f"... {len(cycle) - _SHOWN_MAX} more ...", *cycle[-half:])
    return " -> ".join(shown)


def in_order(deps: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tasks, each after what it depends on, otherwise in the order given."""
    done: dict[str, None] = {}
    for root in deps:
        stack = [(root, iter(deps[root]))]
        while stack:
            task, rest = stack[-1]
            dep = next((dep for dep in rest if dep in deps and dep not in done), None)
            if dep is None:
                done.setdefault(task)
                stack.pop()
            else:
                stack.append((dep, iter(deps[dep])))
    return list(done)


def levels(deps: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return for each task how many come one after another up to it: 1 for one that waits for none.

    Dependencies that are not among the tasks count for nothing.
    """
    found: dict[str, int] = {}
    for task in in_order(deps):
        found[task] = 1 + max((found.get(dep, 0) for dep in deps[task]), default=0)
    return found


def longest_chain(deps: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tasks of one of the longest chains, first to last."""
    depth = levels(deps)
    chain: list[str] = []
    task = max(depth, key=depth.__getitem__, default=None)
    while task is not None:
        chain.append(task)
        before = [dep for dep in deps[task] if dep in depth]
        task = max(before, key=depth.__getitem__, default=None)
    return chain[::-1]
