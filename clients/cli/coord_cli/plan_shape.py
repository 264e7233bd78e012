"""The shape of a plan: what waits for what, and the most that it may cost and take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.times import duration_ns
from coord.v1 import queue_pb2

from coord_cli.amounts import format_length, format_money
from coord_cli.plan import Plan
from coord_cli.plan_graph import levels, longest_chain
from coord_cli.plan_specs import task_specs


@dataclass(frozen=True)
class Shape:
    """What can be said of a plan before it runs. Money is in billionths of a dollar.

    Attributes:
        tasks: Its tasks, each after what it depends on.
        levels: Their ids by level: what is in one level waits only for what is in those before.
        chain: The ids of one of the longest chains of dependencies.
        chain_ns: How long that chain takes where each task runs into its time limit; None where one
            has none.
        cap_nanos: The most that the plan lets all tasks cost; None where it says nothing.
        budgets_nanos: The sum of the tasks' own budgets.
        uncapped: How many tasks have no budget of their own.
    """

    tasks: Sequence[queue_pb2.TaskSpec]
    levels: Sequence[Sequence[str]]
    chain: Sequence[str]
    chain_ns: int | None
    cap_nanos: int | None
    budgets_nanos: int
    uncapped: int

    @property
    def cost_nanos_max(self) -> int | None:
        """The most that all of it may cost; None where there is no limit."""
        if self.uncapped or self.cap_nanos is None:
            return self.cap_nanos if self.uncapped else self.budgets_nanos
        return min(self.cap_nanos, self.budgets_nanos)

    @property
    def widest(self) -> int:
        """How many tasks the widest level has."""
        return max(map(len, self.levels), default=0)


def shape_of(plan: Plan) -> Shape:
    """Return the shape of a plan."""
    specs = {spec.id: spec for spec in task_specs(plan)}
    deps = {spec.id: list(spec.deps) for spec in specs.values()}
    chain = longest_chain(deps)
    timeouts = [duration_ns(specs[task].timeout) for task in chain]
    return Shape(
        tasks=list(specs.values()),
        levels=_by_level(levels(deps)),
        chain=chain,
        chain_ns=sum(timeouts) if all(timeouts) else None,
        cap_nanos=plan.content.plan.budget,
        budgets_nanos=sum(spec.budget.nanos for spec in specs.values()),
        uncapped=sum(not spec.HasField("budget") for spec in specs.values()),
    )


def _by_level(depth: dict[str, int]) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=0))]
    for task, level in depth.items():
        found[level - 1].append(task)
    return found


def shape_json(shape: Shape) -> dict[str, Any]:
    """Return a shape for programs."""
    most = shape.cost_nanos_max
    return {
        "tasks": len(shape.tasks),
        "levels": len(shape.levels),
        "widest_level": shape.widest,
        "critical_path": list(shape.chain),
        "critical_path_s_max": None if shape.chain_ns is None else shape.chain_ns / 1e9,
        "budget_usd": None if shape.cap_nanos is None else shape.cap_nanos / 1e9,
        "task_budgets_usd": shape.budgets_nanos / 1e9,
        "tasks_without_budget": shape.uncapped,
        "cost_usd_max": None if most is None else most / 1e9,
    }


def shape_lines(shape: Shape) -> list[str]:
    """Return a shape for people."""
    most = shape.cost_nanos_max
    cost = "no limit" if most is None else f"at most {format_money(most)}"
    if shape.uncapped:
        cost += f" ({_count(shape.uncapped, 'task')} without a budget)"
    time = "no limit" if shape.chain_ns is None else f"at most {format_length(shape.chain_ns)}"
    tasks, number = _count(len(shape.tasks), "task"), _count(len(shape.levels), "level")
    return [
        f"{tasks} in {number}; the widest has {shape.widest}",
        f"critical path: {_count(len(shape.chain), 'task')}, {time}: {_short(shape.chain)}",
        f"cost: {cost}",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(chain: Sequence[str]) -> str:
    shown = chain if len(chain) <= 10 else [*chain[:5], "...", *chain[-4:]]  # noqa: PLR2004 - fits a line.
    return " -> ".join(shown)
