"""The check on the target alone: before any change, and what is told of it."""

from pathlib import Path

import grpc.aio
import pytest
from coord.v1 import integrator_pb2

from tests.integrator_rig import PROJECT, Rig, commit, git, park, rig_at, running

TARGET = integrator_pb2.CheckTargetRequest(project=PROJECT)
KNOWN = integrator_pb2.CheckTargetRequest(project=PROJECT, known_only=True)


def counting(tmp_path: Path, check: str) -> str:
    return f"echo x >>{tmp_path}/count; {check}"


def count(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text().splitlines())


async def runs(
    rig: Rig, *, size: int = 0, token: str = ""
) -> integrator_pb2.ListTargetRunsResponse:
    request = integrator_pb2.ListTargetRunsRequest(
        project=PROJECT, page_size=size, page_token=token
    )
    return await rig.integrator.ListTargetRuns(request)


async def test_a_green_target_is_checked_once(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path, counting(tmp_path, "true"))) as rig:
        assert not (await rig.integrator.CheckTarget(KNOWN)).green
        assert not (tmp_path / "count").exists()
        for request in (TARGET, TARGET, KNOWN):
            answer = await rig.integrator.CheckTarget(request)
            assert (answer.green, answer.HasField("reason")) == (True, False)
        (run,) = (await runs(rig)).runs
    assert count(tmp_path) == 1
    assert (run.passed, run.of_target) == (True, True)
    assert run.command == counting(tmp_path, "true")


async def test_a_red_target_pauses_merging_with_its_output_before_any_change(
    tmp_path: Path,
) -> None:
    async with running(rig_at(tmp_path, "echo the reason; exit 3")) as rig:
        answer = await rig.integrator.CheckTarget(TARGET)
        paused = (await rig.merge_queue()).paused
        newest = await runs(rig, size=1)
        before = await runs(rig, size=1, token=newest.next_page_token)
        with pytest.raises(grpc.aio.AioRpcError, match="page_size"):
            await runs(rig, size=21)
    assert (answer.green, answer.reason.code) == (False, "TARGET_RED")
    assert answer.reason.metadata["branch"] == "main"
    assert "exit status 3" in answer.reason.message
    assert paused.code == "TARGET_RED"
    assert [run.output for run in (*newest.runs, *before.runs)] == ["the reason\n"] * 2
    assert newest.runs[0].judged_at == before.runs[0].judged_at


async def test_what_was_red_is_told_with_its_commit_until_the_target_moves_on(
    tmp_path: Path,
) -> None:
    async with running(rig_at(tmp_path, "false")) as rig:
        await rig.integrator.CheckTarget(TARGET)
        red = git(rig.repo, "rev-parse", "main").strip()
        assert (await rig.merge_queue()).paused.message.endswith(f"(commit {red[:10]})")
        commit(rig.repo, {"mended": "x"})
        assert not (await rig.merge_queue()).HasField("paused")
        await rig.integrator.CheckTarget(TARGET)
        assert (await rig.merge_queue()).paused.code == "TARGET_RED"


async def test_a_target_that_was_red_is_looked_at_anew_when_asked(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path, f"test -e {tmp_path}/installed")) as rig:
        assert not (await rig.integrator.CheckTarget(TARGET)).green
        (tmp_path / "installed").touch()
        assert (await rig.integrator.CheckTarget(TARGET)).green
        assert not (await rig.merge_queue()).HasField("paused")


async def test_runs_tell_which_of_them_have_decided_together(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, "! test -e bad.txt")
    commit(rig.repo, {"bad.txt": "bad\n"})
    park(rig.repo)
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.paused("TARGET_RED")
        red = (await rig.change("t")).runs
        blamed = (await runs(rig)).runs
        git(rig.repo, "checkout", "-q", "main")
        git(rig.repo, "rm", "-q", "bad.txt")
        git(rig.repo, "commit", "-q", "-m", "mend")
        git(rig.repo, "checkout", "-q", "elsewhere")
        after = (await rig.ended("t")).runs
    assert [run.of_target for run in red] == [False]
    assert [run.of_target for run in blamed] == [True, True]
    assert len({run.judged_at.ToNanoseconds() for run in blamed}) == 1
    assert red[0].judged_at != blamed[0].judged_at
    assert after[-1].passed
