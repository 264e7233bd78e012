"""The shape of a plan: what waits for what, and the most that it may cost and take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from coord.times import duration_ns
from coord.v1 import queue_pb2

from coord_cli.amounts import count, format_length, format_money
from coord_cli.plan import Plan
from coord_cli.plan_graph import levels, longest_chain
from coord_cli.plan_specs import task_specs

# What the contract says where a plan says nothing.
_ATTEMPTS_DEFAULT = 3


@dataclass(frozen=True)
class Shape:
    """What can be said of a plan before it runs. Money is in billionths of a dollar.

    Attributes:
        tasks: Its tasks, each after what it depends on.
        levels: Their ids by level: what is in one level waits only for what is in those before.
        chain: The ids of one of the longest chains of dependencies.
        chain_ns: How long that chain takes where each task lands at the end of its time limit, at
            the first attempt; None where one has no limit.
        chain_ns_max: The same where each uses up all its attempts.
        cap_nanos: The most that the plan lets all tasks cost; None where it says nothing.
        budgets_nanos: The sum of the tasks' own budgets.
        uncapped: How many tasks have no budget of their own.
    """

    tasks: Sequence[queue_pb2.TaskSpec]
    levels: Sequence[Sequence[str]]
    chain: Sequence[str]
    chain_ns: int | None
    chain_ns_max: int | None
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
    most = [_attempts_ns(specs[task]) for task in chain]
    return Shape(
        tasks=list(specs.values()),
        levels=_by_level(levels(deps)),
        chain=chain,
        chain_ns=sum(timeouts) if all(timeouts) else None,
        chain_ns_max=sum(most) if all(timeouts) else None,
        cap_nanos=plan.content.plan.budget,
        budgets_nanos=sum(spec.budget.nanos for spec in specs.values()),
        uncapped=sum(not spec.HasField("budget") for spec in specs.values()),
    )


def _attempts_ns(spec: queue_pb2.TaskSpec) -> int:
    attempts = spec.retry_policy.max_attempts or _ATTEMPTS_DEFAULT
    return attempts * duration_ns(spec.timeout)


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
        "critical_path_s": _seconds(shape.chain_ns),
        "critical_path_s_max": _seconds(shape.chain_ns_max),
        "budget_usd": None if shape.cap_nanos is None else shape.cap_nanos / 1e9,
        "task_budgets_usd": shape.budgets_nanos / 1e9,
        "tasks_without_budget": shape.uncapped,
        "cost_usd_max": None if most is None else most / 1e9,
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def shape_lines(shape: Shape) -> list[str]:
    """Return a shape for people."""
    most = shape.cost_nanos_max
    cost = "no limit" if most is None else f"at most {format_money(most)}"
    if shape.uncapped:
        cost += f" ({count(shape.uncapped, 'task')} without a budget)"
    tasks, number = count(len(shape.tasks), "task"), count(len(shape.levels), "level")
    return [
        f"{tasks} in {number}; the widest has {shape.widest}",
        f"critical path: {count(len(shape.chain), 'task')}, {_time(shape)}: {_short(shape.chain)}",
        f"cost: {cost}",
        *_short_of_money(shape),
    ]


def _time(shape: Shape) -> str:
    if shape.chain_ns is None or shape.chain_ns_max is None:
        return "no limit"
    once = f"at most {format_length(shape.chain_ns)}"
    if shape.chain_ns_max == shape.chain_ns:
        return once
    return f"{once}, or {format_length(shape.chain_ns_max)} with all retries"


def _short_of_money(shape: Shape) -> Iterator[str]:
    """Yield that the plan's budget does not do for all of its tasks' budgets, where that is so."""
    cap = shape.cap_nanos
    if cap is not None and cap < shape.budgets_nanos:
        yield (
            f"the plan's budget, {format_money(cap)}, is less than its tasks' budgets together,"
            f" {format_money(shape.budgets_nanos)}: once it is spent, nothing more is begun"
        )


def _short(chain: Sequence[str]) -> str:
    shown = chain if len(chain) <= 10 else [*chain[:5], "...", *chain[-4:]]  # noqa: PLR2004 - fits a line.
    return " -> ".join(shown)
