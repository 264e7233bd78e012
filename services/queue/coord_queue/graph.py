"""Pure questions about a graph of dependencies."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def find_cycle(deps: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Return the ids of one cycle, each depending on the next, or an empty list.

    Depth-first search with an explicit stack, O(tasks + dependencies): a chain of any length fits.

    Args:
        deps: For each id, the ids that it depends on. Ids that are not keys are ignored.
    """
    done: set[Node] = set()
    for start in deps:
        if start not in done:
            cycle = _search(start, deps, done)
            if cycle:
                return cycle
    return []


def _search(start: Node, deps: Mapping[Node, Sequence[Node]], done: set[Node]) -> list[Node]:
    path: dict[Node, int] = {start: 0}
    stack = [iter(deps[start])]
    while stack:
        following = next(stack[-1], None)
        if following is None:
            stack.pop()
            done.add(path.popitem()[0])
        elif following in path:
            return list(path)[path[following] :]
        elif following in deps and following not in done:
            path[following] = len(path)
            stack.append(iter(deps[following]))
    return []


def in_order(deps: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Return the ids in a topological order: each after all that it depends on.

    The order of the keys where that is one already; otherwise depth first from each key.

    Args:
        deps: For each id, the ids that it depends on; no cycles. Ids that are not keys are ignored.
    """
    done: dict[Node, None] = {}
    for start in deps:
        stack = [start]
        while stack:
            left = [dep for dep in deps[stack[-1]] if dep in deps and dep not in done]
            if left:
                stack.extend(left)
            else:
                done.setdefault(stack.pop())
    return list(done)
