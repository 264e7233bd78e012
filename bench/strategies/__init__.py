"""Suite `strategies`: how far the strategies' schedules are from the best possible.

A model in virtual time around the coordinator's own decisions (`strategies.py`, `loot.py`): who
gets a task, and who takes what from whom. The bound is the larger of the critical path and the
area, that is all durations divided by the number of slots: nothing can be faster. Foresight is a
schedule that knows all durations, the longest remaining path first: what the graph allows.
"""

from pathlib import Path
from random import Random

from coord_coordinator.strategies import STRATEGIES

from bench.report import Row, row
from bench.strategies.graphs import KINDS, Graph, recorded
from bench.strategies.model import Model

_SEEDS = 5
_TASKS = 1_000
_SLOTS = 16
# Of a message between coordinator and worker, as a share of the mean duration of a task.
_LATENCIES = {"no latency": 0.0, "latency 10%": 0.1}
_GOAL = 1.1
_STRATEGIES = ("round_robin", "capability", "work_stealing")


async def run(state: Path) -> list[Row]:
    del state
    graphs = {
        f"{kind}, {_TASKS} tasks": [make(Random(seed), _TASKS) for seed in range(_SEEDS)]
        for kind, make in KINDS.items()
    }
    graphs |= {name: [graph] for name, graph in recorded().items()}
    rows = []
    for kind, of_kind in graphs.items():
        for latency in _LATENCIES:
            rows += [_row(kind, of_kind, name, latency) for name in _STRATEGIES]
        rows.append(_foresight(kind, of_kind))
    return rows


def _row(kind: str, graphs: list[Graph], strategy: str, latency: str) -> Row:
    ratios = []
    for graph in graphs:
        unblocks = [float(len(dependents)) for dependents in graph.dependents]
        latency_s = _LATENCIES[latency] * graph.mean_s
        model = Model(graph, STRATEGIES[strategy](), unblocks, _SLOTS, latency_s)
        ratios.append(model.makespan_s() / graph.bound_s(_SLOTS))
    goal = _GOAL if strategy == "work_stealing" else None
    return row(f"{kind}, {latency}: {strategy}", "bounds", ratios, goal=goal, less_is_better=True)


def _foresight(kind: str, graphs: list[Graph]) -> Row:
    models = [
        Model(graph, STRATEGIES["capability"](), graph.left_s, _SLOTS, 0.0) for graph in graphs
    ]
    bounds = [graph.bound_s(_SLOTS) for graph in graphs]
    ratios = [model.makespan_s() / bound for model, bound in zip(models, bounds, strict=True)]
    return row(f"{kind}, no latency: foresight", "bounds", ratios)
