"""Conflicts between workers' worktrees: who is told, and what dispatch makes of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import coordinator_pb2 as pb
from coord_integrator.service import IntegratorService

from tests.coordinator_rig import SERVICES, Fleet, ref, spec
from tests.integrator_rig import make_repository
from tests.serving import served


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    flags: dict[str, dict[str, Any]] = {
        "coordinator": {"repository": True},
        "integrator": {"repo": str(make_repository(tmp_path / "project")), "no_check": True},
    }
    services = (*SERVICES, IntegratorService)
    async with served(services, tmp_path / "state", "grpc", flags=flags) as running:
        yield Fleet(running)


async def test_a_task_waits_while_others_conflict_in_its_paths(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await fleet.add(spec("a"), spec("b"))
    first, second = await one.hear("assigned"), await two.hear("assigned")
    for assigned, text in ((first, "mine\n"), (second, "theirs\n")):
        Path(assigned.worktree.path, "new.txt").write_text(text)
    assert (await one.hear("conflict")).conflicts[0].worker == "two"

    three = await fleet.worker("three", slots=1)
    await fleet.add(spec("c", paths=["*.txt"]))
    await fleet.until_held("c", "CONFLICT")
    Path(first.worktree.path, "new.txt").unlink()
    assert (await three.hear("assigned")).lease.spec.id == "c"


async def test_a_worker_that_comes_back_is_told_what_it_has_missed(fleet: Fleet) -> None:
    one, two = await fleet.worker("one"), await fleet.worker("two")
    await fleet.add(spec("a"), spec("b"))
    first, second = await one.hear("assigned"), await two.hear("assigned")
    one.stream.cancel()
    for assigned, text in ((first, "mine\n"), (second, "theirs\n")):
        Path(assigned.worktree.path, "new.txt").write_text(text)
    assert (await two.hear("conflict")).conflicts[0].worker == "one"
    again = await fleet.back(one, "one", held=[ref(first)])
    assert (await again.hear("conflict")).conflicts[0].worker == "two"


async def test_an_old_worker_hears_nothing_of_conflicts(fleet: Fleet) -> None:
    old, new = await fleet.worker("old", protocol_version=1), await fleet.worker("new")
    await fleet.add(spec("a"), spec("b"))
    first, second = await old.hear("assigned"), await new.hear("assigned")
    for assigned, text in ((first, "mine\n"), (second, "theirs\n")):
        Path(assigned.worktree.path, "new.txt").write_text(text)
    await new.hear("conflict")
    await fleet.coordinator.DrainWorkers(pb.DrainWorkersRequest(project="p", workers=["old"]))
    kinds = []
    async with asyncio.timeout(60):
        while "drain" not in kinds:
            kinds.append((await old.stream.read()).WhichOneof("message"))
    assert "conflict" not in kinds
