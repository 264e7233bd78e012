"""The radar: conflicts between worktrees are seen while they are edited."""

from pathlib import Path

from coord.v1 import integrator_pb2 as pb

from tests.integrator_rig import Rig, rig_at, running, until, write

PROJECT = "demo"


async def matrix(rig: Rig, worker: str = "") -> pb.GetConflictMatrixResponse:
    request = pb.GetConflictMatrixRequest(project=PROJECT, worker=worker)
    return await rig.integrator.GetConflictMatrix(request)


async def pairs(rig: Rig) -> dict[tuple[str, str], list[str]]:
    found = (await matrix(rig)).conflicts
    return {(one.worker, one.other.worker): list(one.other.paths) for one in found}


async def until_pairs(rig: Rig, expected: dict[tuple[str, str], list[str]]) -> None:
    async def are() -> bool:
        return await pairs(rig) == expected

    await until(are)


async def test_edits_of_the_same_lines_are_seen_as_they_are_saved(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        write(one, {"a.txt": "ONE\ntwo\nthree\n"})
        write(two, {"new.txt": "apart\n"})
        await until_heads_differ(rig, "w1", "w2")
        assert await pairs(rig) == {}

        write(two, {"a.txt": "TWO\ntwo\nthree\n"})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        hunks = (await matrix(rig, "w2")).conflicts[0].other.hunks
        assert "ONE" in hunks
        assert "TWO" in hunks

        write(two, {"a.txt": "one\ntwo\nthree\n"})
        await until_pairs(rig, {})


async def until_heads_differ(rig: Rig, *workers: str) -> None:
    async def differ() -> bool:
        heads = {head.worker: head.tree for head in (await matrix(rig)).heads}
        return all(heads.get(worker, heads[""]) != heads[""] for worker in workers)

    await until(differ)
