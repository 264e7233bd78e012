"""Changes tested together and beside one another, in which order, and what an operator can say."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from coord.client import connect
from coord.errors import from_rpc
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord.v1.integrator_pb2_grpc import IntegratorServiceStub
from coord_integrator.claimed import Claimed
from coord_integrator.names import LANDING
from coord_integrator.repository import Repository
from coord_runtime.tokens import Kind, Principal

from tests.integration import waiting
from tests.integrator_rig import (
    CHECK,
    PROJECT,
    Rig,
    commit,
    git,
    park,
    rig_at,
    running,
    until,
    write,
)

CANCELLED = integrator_pb2.CHANGE_STATE_CANCELLED
LANDED = integrator_pb2.CHANGE_STATE_LANDED
REJECTED = integrator_pb2.CHANGE_STATE_REJECTED


async def submit_paused(rig: Rig, changes: dict[str, dict[str, str]]) -> None:
    """Check the target, and submit changes by task while nothing lands."""
    park(rig.repo)
    await rig.integrator.CheckTarget(integrator_pb2.CheckTargetRequest(project=PROJECT))
    await rig.pause()
    for task, files in changes.items():
        await rig.work(f"w-{task}", task, files)


async def pauses(rig: Rig) -> list[common_pb2.Reason]:
    """Return why merging was paused, or that it went on, as far as it was told."""
    request = integrator_pb2.WatchIntegratorEventsRequest(project=PROJECT)
    call: Any = rig.integrator.WatchIntegratorEvents(request)
    events = (await call.read()).events
    call.cancel()
    return [one.merging_paused.reason for one in events if one.HasField("merging_paused")]


async def ended(rig: Rig, tasks: list[str]) -> dict[str, integrator_pb2.Change]:
    return {task: await rig.ended(task) for task in tasks}


def runs_of(changes: dict[str, integrator_pb2.Change]) -> list[integrator_pb2.CheckRun]:
    """Return the runs with any of the changes, each once, oldest first."""
    found = {run.started_at.ToNanoseconds(): run for one in changes.values() for run in one.runs}
    return [found[at] for at in sorted(found)]


async def test_what_comes_while_claims_are_asked_for_is_not_tested_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold_back(
        self: Claimed, changes: Sequence[integrator_pb2.Change], tip: str
    ) -> dict[str, common_pb2.Reason]:
        del self, tip
        if changes:
            asked.set()
            await answer.wait()
        claimed = common_pb2.Reason(code="CLAIMED")
        return {one.change_id: claimed for one in changes if one.attempt.task_id == "b"}

    monkeypatch.setattr(Claimed, "hold_back", hold_back)
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        await rig.begin("w-b", "b")
        await rig.work("w-a", "a", {"a.txt": "x\n"})
        await asked.wait()
        write(tmp_path / "state" / "worktrees" / "w-b", {"b.txt": "x\n"})
        await rig.submit("w-b", "b")
        answer.set()
        change = await rig.ended("a")
        held = await rig.change("b")

    assert change.state == LANDED
    assert (held.state, list(held.runs)) == (integrator_pb2.CHANGE_STATE_QUEUED, [])


def _claims(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of tasks: what their changes touch is claimed."""
    tasks: list[str] = []

    async def hold_back(
        self: Claimed, changes: Sequence[integrator_pb2.Change], tip: str
    ) -> dict[str, common_pb2.Reason]:
        del self, tip
        claimed = common_pb2.Reason(code="CLAIMED", message="ann claims it")
        return {one.change_id: claimed for one in changes if one.attempt.task_id in tasks}

    monkeypatch.setattr(Claimed, "hold_back", hold_back)
    return tasks


async def _is_green_and_held(rig: Rig, task: str) -> bool:
    change = await rig.change(task)
    request = integrator_pb2.ExplainChangeRequest(project=PROJECT, change_id=change.change_id)
    reasons = (await rig.integrator.ExplainChange(request)).reasons
    return bool(change.runs) and any(one.code == "CLAIMED" for one in reasons)


@pytest.mark.parametrize("late", [False, True])
async def test_a_claim_that_comes_while_a_change_is_tested_or_handed_over_keeps_it_from_landing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    claims, hand_over = _claims(monkeypatch), Repository.hand_over

    async def then_claim(self: Repository, commit_id: str, ref: str) -> None:
        await hand_over(self, commit_id, ref)
        if late and ref == LANDING and "a" in rig.tokens:
            claims.append("a")

    monkeypatch.setattr(Repository, "hand_over", then_claim)
    began, go = tmp_path / "began", tmp_path / "go"
    check = f"test ! -e new.txt || {{ touch {began}; until test -e {go}; do sleep 0.02; done; }}"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        await rig.work("w-a", "a", {"new.txt": "x\n"})
        await waiting.until(began.exists)
        if not late:
            claims.append("a")
        go.touch()
        await until(lambda: _is_green_and_held(rig, "a"))
        assert git(rig.repo, "ls-tree", "--name-only", "main", "new.txt") == ""
        late = False
        claims.clear()
        change = await rig.ended("a")

    assert change.state == LANDED


async def test_who_conflicts_with_a_change_does_not_wait_for_it_while_that_is_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = _claims(monkeypatch)
    began, go = tmp_path / "began", tmp_path / "go"
    check = f"test ! -e new.txt || {{ touch {began}; until test -e {go}; do sleep 0.02; done; }}"
    async with running(rig_at(tmp_path, check)) as rig:
        await submit_paused(rig, {"a": {"new.txt": "x\n"}, "b": {"new.txt": "y\n"}})
        await rig.resume()
        await waiting.until(began.exists)
        claims.append("a")
        go.touch()
        landed = await rig.ended("b")
        claims.clear()
        given_back = await rig.ended("a")

    assert (landed.state, given_back.state) == (LANDED, REJECTED)


async def test_a_step_that_fails_again_and_again_is_told_until_one_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    async def hold_back(
        self: Claimed, changes: Sequence[integrator_pb2.Change], tip: str
    ) -> dict[str, common_pb2.Reason]:
        nonlocal failures
        del self, tip
        if changes and failures < 5:
            failures += 1
            raise ValueError("nobody has thought of this")
        return {}

    monkeypatch.setattr(Claimed, "hold_back", hold_back)
    monkeypatch.setattr("coord_integrator.loops._RETRY_S", 0.05)
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        await rig.work("w-a", "a", {"a.txt": "x\n"})
        change = await rig.ended("a")
        after = await rig.merge_queue()
        told = await pauses(rig)

    assert (change.state, after.HasField("paused")) == (LANDED, False)
    assert [reason.code for reason in told] == ["STEP_FAILED", ""]
    assert "ValueError: nobody has thought of this" in told[0].message
    assert "`coord task cancel`" in told[0].message


async def test_changes_that_are_green_together_land_by_one_run(tmp_path: Path) -> None:
    tasks = ["a", "b", "c", "d"]
    async with running(rig_at(tmp_path, check_slots=1)) as rig:
        await submit_paused(rig, {task: {f"{task}.txt": "x\n"} for task in tasks})
        await rig.resume()
        changes = await ended(rig, tasks)
        queue = await rig.merge_queue()

    assert {change.state for change in changes.values()} == {LANDED}
    (run,) = runs_of(changes)
    assert list(run.change_ids) == [changes[task].change_id for task in tasks]
    assert git(rig.repo, "rev-parse", "main^{tree}") == run.tree
    assert git(rig.repo, "rev-parse", "main") == changes["d"].landed_commit == queue.target_commit
    history = git(rig.repo, "log", "--first-parent", "--reverse", "--format=%H", "main").split()
    assert history[1:] == [changes[task].landed_commit for task in tasks]


async def test_one_that_is_red_is_found_and_the_others_land(tmp_path: Path) -> None:
    files = {"a": "a.txt", "b": "b.txt", "bad": "bad.txt", "d": "d.txt"}
    async with running(rig_at(tmp_path, check_slots=1)) as rig:
        await submit_paused(rig, {task: {name: "x\n"} for task, name in files.items()})
        await rig.resume()
        changes = await ended(rig, list(files))

    assert {task: change.state for task, change in changes.items()} == {
        "a": LANDED,
        "b": LANDED,
        "bad": REJECTED,
        "d": LANDED,
    }
    bad = changes["bad"].change_id
    alone = [run for run in changes["bad"].runs if run.change_ids[-1] == bad]
    assert [run.passed for run in alone[-2:]] == [False, False]


async def test_checks_run_beside_one_another(tmp_path: Path) -> None:
    """Each run waits until three are under way: one after the other, none would end."""
    marks, tasks = tmp_path / "marks", ["a", "b", "c"]
    marks.mkdir()
    three = f"until test $(ls {marks} | wc -l) -ge 3; do sleep 0.02; done"
    check = f"test ! -e new || {{ touch {marks}/$$; {three}; }}"
    files = {task: {"new/" + task: "x\n"} for task in tasks}
    async with running(rig_at(tmp_path, check, check_slots=3, check_timeout_s=20)) as rig:
        await submit_paused(rig, files)
        await rig.resume()
        changes = await ended(rig, tasks)

    assert {change.state for change in changes.values()} == {LANDED}
    assert all(run.passed for run in runs_of(changes))


async def test_a_change_of_a_lock_file_lands_by_itself(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path, check_slots=4)) as rig:
        await submit_paused(
            rig,
            {
                "a": {"a.txt": "x\n"},
                "lock": {"app/uv.lock": "x\n"},
                "c": {"c.txt": "x\n"},
            },
        )
        await rig.resume()
        changes = await ended(rig, ["a", "lock", "c"])

    assert {change.state for change in changes.values()} == {LANDED}
    lock = changes["lock"]
    assert lock.barrier
    assert [
        list(run.change_ids) for run in runs_of(changes) if lock.change_id in run.change_ids
    ] == [[lock.change_id]]


async def test_an_urgent_change_lands_before_those_that_have_waited_longer(tmp_path: Path) -> None:
    tasks = ["a", "b", "c"]
    async with running(rig_at(tmp_path, check_slots=1)) as rig:
        await submit_paused(rig, {task: {f"{task}.txt": "x\n"} for task in tasks})
        urgent = (await rig.change("c")).change_id
        request = integrator_pb2.ReprioritizeChangeRequest(
            project=PROJECT, change_id=urgent, urgent=True
        )
        await rig.integrator.ReprioritizeChange(request)
        asked = integrator_pb2.ExplainChangeRequest(project=PROJECT, change_id=urgent)
        explained = await rig.integrator.ExplainChange(asked)
        await rig.resume()
        changes = await ended(rig, tasks)
        over = await rig.integrator.ExplainChange(asked)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await rig.integrator.ReprioritizeChange(request)

    assert explained.position == 1
    assert [reason.code for reason in explained.reasons] == ["PAUSED"]
    assert 0 < explained.risk < 1
    assert list(runs_of(changes)[0].change_ids) == [urgent]
    assert (over.position, list(over.reasons)) == (0, [])
    assert from_rpc(refusal.value).reason == "CHANGE_ENDED"


async def test_a_change_that_is_cancelled_goes_back_to_its_task(tmp_path: Path) -> None:
    began = tmp_path / "began"
    async with running(rig_at(tmp_path, f"touch {began}; sleep 600")) as rig:
        park(rig.repo)
        main = git(rig.repo, "rev-parse", "main")
        change = await rig.work("w1", "t", {"b.txt": "b\n"})
        async with asyncio.timeout(60):
            while not began.exists():
                await asyncio.sleep(0.02)
        request = integrator_pb2.CancelChangeRequest(
            project=PROJECT, change_id=change.change_id, message="do it otherwise"
        )
        answers = [(await rig.integrator.CancelChange(request)).change for _ in range(2)]
        task = await rig.reported("t", queue_pb2.TASK_STATE_PENDING)
        request.change_id = "nobody@1"
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await rig.integrator.CancelChange(request)
        async with asyncio.timeout(60):
            while (await rig.merge_queue()).trials:
                await asyncio.sleep(0.02)

    assert [answer.state for answer in answers] == [CANCELLED, CANCELLED]
    assert task.attempts[-1].message == "do it otherwise"
    assert task.attempts_used == 0
    assert git(rig.repo, "rev-parse", "main") == main
    assert git(rig.repo, "show", f"{change.wip_ref}:b.txt") == "b"
    assert from_rpc(refusal.value).reason == "CHANGE_NOT_FOUND"


async def test_a_change_lands_on_no_other_target_than_it_was_made_for(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    git(rig.repo, "branch", "dev")

    async def is_held() -> bool:
        request = integrator_pb2.ExplainChangeRequest(project=PROJECT, change_id="a@1")
        reasons = (await rig.integrator.ExplainChange(request)).reasons
        return [reason.code for reason in reasons] == ["OTHER_TARGET"]

    async with running(rig):
        await submit_paused(rig, {"a": {"a.txt": "x\n"}})
        await rig.stop()
        rig.settings["target"] = "dev"
        await rig.start()
        await rig.resume()
        await until(is_held)
        await rig.work("w-b", "b", {"b.txt": "x\n"})
        await rig.ended("b")
        assert await is_held()
        await rig.stop()
        rig.settings["target"] = "main"
        await rig.start()
        change = await rig.ended("a")

    assert change.state == LANDED
    assert git(rig.repo, "diff", "--name-only", "main", "dev").split() == ["a.txt", "b.txt"]
    assert git(rig.repo, "show", "main:a.txt") == "x"


async def test_rebased_each_commit_of_an_agent_is_made_anew_on_the_target(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path, CHECK, history="rebase")) as rig:
        park(rig.repo)
        worktree = await rig.begin("w1", "t")
        await rig.work("w2", "other", {"other.txt": "x\n"})
        await rig.ended("other")
        commit(worktree, {"one.txt": "1\n"}, "First step")
        git(worktree, "commit", "-q", "--allow-empty", "--author", "Ann <a@example.org>", "-m", "-")
        commit(worktree, {"two.txt": "2\n"}, "Second step\n\nWith a body")
        git(worktree, "commit", "-q", "--amend", "--author", "Ann <a@example.org>", "--no-edit")
        write(worktree, {"three.txt": "3\n"})
        await rig.submit("w1", "t", "Three steps")
        change = await rig.ended("t")

    assert change.state == LANDED
    log = git(rig.repo, "log", "-4", "--format=%s|%an|%p", "main").splitlines()
    subjects = [line.split("|")[0] for line in log]
    assert subjects == ["Three steps", "Second step", "First step", "other"]
    assert log[1].split("|")[1] == "Ann"
    assert all(len(line.split("|")[2].split()) == 1 for line in log)
    assert "Coord-Task: t" in git(rig.repo, "log", "-1", "--format=%B", "main")
    assert git(rig.repo, "rev-parse", "main^{tree}") == change.runs[-1].tree


async def test_the_end_of_a_stop_ends_no_pause_of_the_operators(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        assert rig.node is not None
        token = rig.node.mint.mint(Principal(Kind.SERVICE, "coordinator", PROJECT))
        await rig.pause()
        async with connect(rig.node.address, token) as channel:
            coordinator: Any = IntegratorServiceStub(channel)
            go_on = integrator_pb2.ResumeMergingRequest(project=PROJECT)
            await coordinator.ResumeMerging(go_on)
            assert (await rig.merge_queue()).paused.code == "PAUSED"
            stop = integrator_pb2.PauseMergingRequest(project=PROJECT, message="stop")
            await coordinator.PauseMerging(stop)
            await rig.resume()
            assert "stop" in (await rig.merge_queue()).paused.message
            await coordinator.ResumeMerging(go_on)
            assert not (await rig.merge_queue()).HasField("paused")
