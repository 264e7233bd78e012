"""Changes that fail, clash and are cancelled, checks that flake, a merge queue that is killed."""

import asyncio
import itertools
from pathlib import Path
from random import Random

from coord.times import SECOND, timestamp_ns
from coord.v1 import integrator_pb2, queue_pb2

from tests.simulation.git import Truth
from tests.simulation.loop import run
from tests.simulation.merge_world import MergeWorld

State = integrator_pb2.ChangeState
LANDED = integrator_pb2.CHANGE_STATE_LANDED
RED = queue_pb2.FAILURE_REASON_CHECK_FAILED
REJECTED = integrator_pb2.CHANGE_STATE_REJECTED
ENDED = {
    LANDED,
    REJECTED,
    integrator_pb2.CHANGE_STATE_CANCELLED,
    integrator_pb2.CHANGE_STATE_STALE,
}
_CHANGES = 24
_CALM_S = 2_000.0
# Three runs of the check for each change, one after the other: no queue needs more.
_WAIT_S_MAX = 3 * 1.2 * _CHANGES


def history(folder: Path, seed: int) -> None:
    """Run the history of one seed.

    Raises:
        AssertionError: A promise is broken.
        TimeoutError: A change has not ended.
    """
    run(_history(folder, seed))


async def _history(folder: Path, seed: int) -> None:
    chance = Random(seed)
    names = [f"c{number}" for number in range(_CHANGES)]
    truth = _truth(chance, names)
    world = MergeWorld(folder, truth, chance, slots=chance.choice([1, 2, 4, 8]))
    world.start()
    storms = [
        asyncio.create_task(storm)
        for storm in (_submit(world, names), _kill(world), _cancel(world, names), _use(world))
    ]
    await asyncio.gather(*storms)
    async with asyncio.timeout(_CALM_S):
        while not _is_over(world, names):
            await asyncio.sleep(1)
    _check(world, names)
    await world.close()


def _truth(chance: Random, names: list[str]) -> Truth:
    pairs = list(itertools.combinations(names, 2))
    return Truth(
        bad={name for name in names if chance.random() < chance.choice([0.0, 0.1, 0.3])},
        clashes={frozenset(pair) for pair in pairs if chance.random() < 0.02},
        conflicts={frozenset(pair) for pair in pairs if chance.random() < 0.02},
        flake=chance.choice([0.0, 0.05]),
    )


async def _submit(world: MergeWorld, names: list[str]) -> None:
    """Submit all at once, or one after the other."""
    longest_s = world.chance.choice([0.0, 1.0, 4.0])
    for name in names:
        await asyncio.sleep(world.chance.uniform(0, longest_s))
        barrier = world.chance.random() < 0.05
        await world.submit(name, priority=world.chance.choice([0, 100]), barrier=barrier)


async def _kill(world: MergeWorld) -> None:
    for _ in range(world.chance.choice([0, 1, 3])):
        await asyncio.sleep(world.chance.uniform(0, 10))
        world.kill()
        world.start()


async def _cancel(world: MergeWorld, names: list[str]) -> None:
    """Let a task be cancelled, and a change be taken out."""
    for name in world.chance.sample(names, 2):
        await asyncio.sleep(world.chance.uniform(0, 10))
        world.leases.cancelled.add(name)
    for name in world.chance.sample(names, 2):
        await asyncio.sleep(world.chance.uniform(0, 5))
        row = world.store.change(name)
        if row is not None:
            await world.endings.cancel(row, "enough")


async def _use(world: MergeWorld) -> None:
    """Commit to the target as a user does, something red, too, and mend it."""
    await asyncio.sleep(world.chance.uniform(0, 15))
    world.repository.user_commits("mine")
    if world.chance.random() < 0.5:
        world.repository.truth.bad.add("broken")
        world.repository.user_commits("broken")
        await asyncio.sleep(world.chance.uniform(0, 10))
        world.repository.user_reverts("broken")


def _is_over(world: MergeWorld, names: list[str]) -> bool:
    changes = world.changes()
    states = [changes[name].state for name in names if name in changes]
    return len(states) == len(names) and set(states) <= ENDED and not world.store.reports()


def _check(world: MergeWorld, names: list[str]) -> None:
    changes, truth = world.changes(), world.repository.truth
    assert not world.repository.broken
    inside = world.repository.contents[world.repository.at]
    landed = {name for name in names if changes[name].state == LANDED}
    assert landed == set(names) & inside
    assert sorted(set(names) & set(world.repository.landings)) == sorted(landed)
    for name in names:
        _check_report(world, changes[name])
        report = world.leases.reports.get(name)
        if isinstance(report, queue_pb2.Failure) and report.reason == RED:
            _check_reds(world, changes[name])
        if changes[name].state == REJECTED and not truth.flake:
            fits = truth.merges(name, inside) and truth.is_sound(inside | {name})
            assert not fits, f"{name} was rejected for another's fault"
        waited_ns = timestamp_ns(changes[name].changed_at) - timestamp_ns(
            changes[name].submitted_at
        )
        assert waited_ns / SECOND < _WAIT_S_MAX, f"{name} has waited {waited_ns / SECOND} s"


def _check_reds(world: MergeWorld, change: integrator_pb2.Change) -> None:
    """A change is rejected for a red check only after two red runs alone on a green target."""
    name, alone = change.change_id, 0
    for one in world.store.runs(name):
        base = world.repository.contents[one.base_commit]
        others = set(one.change_ids) - {name}
        on_green = others <= set(world.repository.landings)
        alone += not one.passed and on_green and world.repository.truth.is_sound(base | others)
    assert alone >= 2, f"{name} was rejected after {alone} red runs alone"


def _check_report(world: MergeWorld, change: integrator_pb2.Change) -> None:
    """Each that has ended was told of once, those apart whose task the queue itself has ended."""
    report = world.leases.reports.get(change.change_id)
    if change.state == integrator_pb2.CHANGE_STATE_STALE:
        assert report is None
    elif change.state == LANDED:
        assert isinstance(report, queue_pb2.Completion)
    else:
        assert isinstance(report, queue_pb2.Failure)
