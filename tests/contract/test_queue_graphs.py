"""Graphs as they come: drained through leases, each task after all that it depends on."""

import os
import random
from pathlib import Path

import pytest
from coord.v1 import queue_pb2 as pb
from coord_cli.plan_import import import_plan

from tests.queue_stores import STORES, Open, Store

# The full size is for `make graphs-queue`.
_FULL = "COORD_FULL_GRAPHS" in os.environ
_WIDTH = 100_000 if _FULL else 10_000
_LENGTH = 10_000 if _FULL else 2_000
_BATCH = 1_000

Graph = dict[str, list[str]]


def fan_out() -> Graph:
    """One task that all others wait for, and one that waits for a thousand of them."""
    leaves: Graph = {f"leaf{number}": ["root"] for number in range(_WIDTH)}
    return {"root": [], **leaves, "join": list(leaves)[:1_000]}


def layers() -> Graph:
    """Layers of 40, each task with up to five of the layer before and one of any."""
    chance = random.Random(5)
    graph: Graph = {}
    for layer in range(40):
        before, all_before = list(graph)[-40:], list(graph)
        for number in range(40):
            deps = chance.sample(before, chance.randint(0, min(5, len(before))))
            deps += [chance.choice(all_before)] if all_before else []
            graph[f"t{layer}.{number}"] = list(dict.fromkeys(deps))
    return graph


def lattice() -> Graph:
    """A square whose tasks wait for those above and to the left."""
    return {
        f"{row}.{column}": [
            *([f"{row - 1}.{column}"] if row else []),
            *([f"{row}.{column - 1}"] if column else []),
        ]
        for row in range(40)
        for column in range(40)
    }


def chain() -> Graph:
    return {f"t{number}": [f"t{number - 1}"] if number else [] for number in range(_LENGTH)}


def workflow() -> Graph:
    """The fixture in the WfCommons form."""
    data = (Path(__file__).parent / "wfcommons.json").read_bytes()
    tasks = import_plan(data, None).content["tasks"]
    return {task["id"]: task.get("deps", []) for task in tasks}


@pytest.mark.parametrize("graph", [fan_out, layers, lattice, chain, workflow])
@pytest.mark.parametrize("opened", STORES.values(), ids=STORES)
async def test_every_order_is_valid(tmp_path: Path, opened: Open, graph: object) -> None:
    assert callable(graph)
    deps: Graph = graph()
    store = Store(opened, tmp_path)
    specs = [pb.TaskSpec(id=task_id, deps=one) for task_id, one in deps.items()]
    for first in range(0, len(specs), _BATCH):
        await store.add(*specs[first : first + _BATCH])
    store.check_order()
    done: set[str] = set()
    while leases := await store.lease(_BATCH):
        for lease in leases:
            assert done.issuperset(deps[lease.spec.id]), lease.spec.id
        await store.complete(*leases)
        done.update(lease.spec.id for lease in leases)
    assert done == deps.keys()
    await store.queue.close()
