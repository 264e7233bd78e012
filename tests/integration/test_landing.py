"""What lands, what does not, and what becomes of the user's branches and checkout."""

from pathlib import Path

import pytest
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2, queue_pb2
from coord_integrator.names import LANDING
from coord_integrator.repository import Repository

from tests.integrator_rig import (
    commit,
    fingerprint,
    git,
    park,
    rig_at,
    running,
    until,
    until_at,
    until_clean,
    write,
)

LANDED = integrator_pb2.CHANGE_STATE_LANDED
REJECTED = integrator_pb2.CHANGE_STATE_REJECTED
QUEUED = integrator_pb2.CHANGE_STATE_QUEUED
STALE = integrator_pb2.CHANGE_STATE_STALE
COMPLETE = queue_pb2.TASK_STATE_COMPLETE


async def test_a_green_change_lands_on_the_target_with_its_trailers(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        worktree = await rig.begin("w1", "task:1")
        write(worktree, {"b.txt": "b\n"})
        request = integrator_pb2.SubmitChangeRequest(
            project="demo", worker="w1", attempt=rig.attempt("task:1"), title="Add b"
        )
        request.cost.currency, request.cost.nanos = "USD", 250_000_000
        await rig.integrator.SubmitChange(request)
        change = await rig.ended("task:1")
        await rig.reported("task:1", COMPLETE)

    assert change.state == LANDED
    assert (change.lines_added, change.lines_removed) == (1, 0)
    assert git(rig.repo, "rev-parse", "main") == change.landed_commit
    assert git(rig.repo, "show", "main:b.txt") == "b"
    message = git(rig.repo, "log", "-1", "--format=%B", "main").splitlines()
    assert message[0] == "Add b"
    assert message[2:] == [
        "Coord-Task: task:1",
        "Coord-Worker: w1",
        "Coord-Attempt: 1",
        "Coord-Cost: 0.2500 USD",
    ]


async def test_a_red_change_is_rejected_and_the_next_attempt_gets_the_output(
    tmp_path: Path,
) -> None:
    check = "if test -e bad.txt; then echo the reason; exit 3; fi"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        before = git(rig.repo, "rev-parse", "main")
        await rig.work("w1", "t", {"bad.txt": "bad\n"})
        change = await rig.ended("t")
        task = await rig.reported("t", queue_pb2.TASK_STATE_PENDING)
        after = git(rig.repo, "rev-parse", "main")
        await rig.work("w1", "t", {"good.txt": "good\n"})
        second = await rig.ended("t")
        request = integrator_pb2.ListTargetRunsRequest(project="demo")
        (of_target,) = (await rig.integrator.ListTargetRuns(request)).runs

    assert change.state == REJECTED
    # Twice alone, and in between once the tree that it is merged into.
    assert [run.passed for run in change.runs] == [False, False]
    assert of_target.passed
    assert timestamp_ns(change.runs[0].ended_at) <= timestamp_ns(of_target.started_at)
    assert timestamp_ns(of_target.ended_at) <= timestamp_ns(change.runs[1].started_at)
    assert change.runs[0].exit_status == 3
    assert change.detail == "the reason\n"
    assert task.attempts[-1].reason == queue_pb2.FAILURE_REASON_CHECK_FAILED
    assert task.attempts[-1].detail == "the reason\n"
    assert before == after
    assert second.state == LANDED
    assert git(rig.repo, "ls-tree", "--name-only", "main").split() == ["a.txt", "good.txt"]


async def test_a_conflict_is_rejected_with_both_sides_hunks(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        first, second = await rig.begin("w1", "one"), await rig.begin("w2", "two")
        write(first, {"a.txt": "one\nFIRST\nthree\n"})
        write(second, {"a.txt": "one\nSECOND\nthree\n"})
        await rig.submit("w1", "one")
        await rig.submit("w2", "two")
        landed, conflicting = await rig.ended("one"), await rig.ended("two")
        task = await rig.reported("two", queue_pb2.TASK_STATE_PENDING)

    assert (landed.state, conflicting.state) == (LANDED, REJECTED)
    assert task.attempts[-1].reason == queue_pb2.FAILURE_REASON_CONFLICT
    detail = task.attempts[-1].detail
    assert "CONFLICT (content): Merge conflict in a.txt" in detail
    assert "<<<<<<< main\nFIRST\n=======\nSECOND\n>>>>>>> two (this attempt)" in detail
    assert git(rig.repo, "show", "main:a.txt") == "one\nFIRST\nthree"
    assert git(rig.repo, "show", f"{conflicting.wip_ref}:a.txt") == "one\nSECOND\nthree"


async def test_no_tree_lands_that_the_check_has_not_seen(tmp_path: Path) -> None:
    """Two changes, each green alone and red together: the second one does not land."""
    seen = tmp_path / "seen"
    check = f"git write-tree >> {seen}; ! (test -e x.txt && test -e y.txt)"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        first, second = await rig.begin("w1", "one"), await rig.begin("w2", "two")
        write(first, {"x.txt": "x\n"})
        write(second, {"y.txt": "y\n"})
        await rig.submit("w1", "one")
        await rig.submit("w2", "two")
        states = [(await rig.ended(task)).state for task in ("one", "two")]

    assert states == [LANDED, REJECTED]
    landed = git(rig.repo, "log", "--first-parent", "--format=%T", "main").split()[:-1]
    assert len(landed) == 1
    assert set(landed) <= set(seen.read_text().split())


async def test_a_flaky_check_lands_and_is_told_of(tmp_path: Path) -> None:
    once = tmp_path / "once"
    check = f"test -e {once} || {{ touch {once}; exit 1; }}"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        await rig.work("w1", "t", {"b.txt": "b\n"})
        change = await rig.ended("t")
        queue = await rig.merge_queue()

    assert change.state == LANDED
    assert [run.passed for run in change.runs] == [False, True]
    assert "flaky" in change.message
    (flake,) = queue.flakes
    assert (queue.flakes_total, flake.tree) == (1, change.runs[0].tree)
    assert list(flake.change_ids) == [change.change_id]


async def test_a_red_target_pauses_merging_and_blames_nobody(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    commit(rig.repo, {"bad.txt": "bad\n"})
    park(rig.repo)
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.paused("TARGET_RED")

        async def waits() -> bool:
            return (await rig.change("t")).state == QUEUED

        await until(waits)  # What was under check with the red target is queued again.
        assert (await rig.task("t")).state == queue_pb2.TASK_STATE_MERGING
        git(rig.repo, "checkout", "-q", "main")
        git(rig.repo, "rm", "-q", "bad.txt")
        git(rig.repo, "commit", "-q", "-m", "mend")
        git(rig.repo, "checkout", "-q", "elsewhere")
        change = await rig.ended("t")
        going = await rig.merge_queue()

    assert change.state == LANDED
    assert not going.HasField("paused")


async def test_a_check_that_runs_too_long_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    check = f"test ! -e slow.txt || {{ sleep 600 & echo $! >> {pids}; wait; }}"
    async with running(rig_at(tmp_path, check, check_timeout_s=0.3)) as rig:
        park(rig.repo)
        await rig.work("w1", "t", {"slow.txt": "b\n"})
        change = await rig.ended("t")

    assert change.state == REJECTED
    assert [run.exit_status for run in change.runs] == [-1, -1]
    alive = [pid for pid in pids.read_text().split() if _is_alive(pid)]
    assert alive == []


async def test_a_process_that_a_check_has_put_into_a_session_of_its_own_is_ended(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    check = f"setsid sh -c 'echo $$ >> {pids}; exec sleep 600' & until test -s {pids}; do :; done"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        await rig.work("w1", "t", {"b.txt": "b\n"})
        change = await rig.ended("t")
        alive = [pid for pid in pids.read_text().split() if _is_alive(pid)]

    assert change.state == LANDED
    assert alive == []


def _is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_the_check_sees_the_tree_alone_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("COORD_TOKEN", "secret")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    check = f"ls -A >> {out}; env >> {out}; touch left.log left.txt"
    rig = rig_at(tmp_path, check)
    commit(rig.repo, {".gitignore": "*.log\n"})
    monkeypatch.delenv("GIT_DIR")
    park(rig.repo)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    async with running(rig):
        monkeypatch.delenv("GIT_DIR")
        for number in (1, 2):
            await rig.work("w1", f"t{number}", {f"b{number}.txt": "b\n"})
            await rig.ended(f"t{number}")

    lines = out.read_text().splitlines()
    assert "left.log" not in lines
    assert "left.txt" not in lines
    assert "b2.txt" in lines
    assert not [line for line in lines if line.startswith(("COORD_TOKEN", "GIT_"))]


async def test_a_dirty_checkout_stays_as_it_was_and_landings_go_beside_it(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    repo = rig.repo
    write(repo, {"a.txt": "mine\n", "new.txt": "mine\n", "staged.txt": "mine\n"})
    git(repo, "add", "staged.txt")
    write(repo, {"staged.txt": "mine, later\n"})
    before, main = fingerprint(repo), git(repo, "rev-parse", "main")
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        change = await rig.ended("t")
        queue = await rig.merge_queue()
        await rig.teardown("w1")

    assert change.state == LANDED
    assert fingerprint(repo) == before
    assert git(repo, "rev-parse", "main") == main
    assert queue.landing_branch == "coord/main"
    assert git(repo, "rev-parse", "coord/main") == queue.target_commit == change.landed_commit


async def test_a_clean_checkout_is_brought_along(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"untracked.txt": "mine\n"})
        await rig.work("w1", "t", {"b.txt": "b\n", "a.txt": "changed\n"})
        change = await rig.ended("t")
        await until_at(rig.repo, "HEAD", change.landed_commit)
        await until_clean(rig.repo)

    assert git(rig.repo, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(rig.repo, "status", "--porcelain") == "?? untracked.txt"
    assert (rig.repo / "a.txt").read_text() == "changed\n"


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_file_of_the_users_in_the_way_is_never_overwritten(
    tmp_path: Path, *, ignored: bool
) -> None:
    rig = rig_at(tmp_path)
    if ignored:
        (rig.repo / ".git" / "info" / "exclude").write_text("b.txt\n")
    async with running(rig):
        worktree = await rig.begin("w1", "t")
        write(worktree, {"b.txt": "theirs\n"})
        git(worktree, "add", "-f", "b.txt")
        write(rig.repo, {"b.txt": "mine\n"})
        before = fingerprint(rig.repo)
        await rig.submit("w1", "t")
        change = await rig.ended("t")

    assert change.state == LANDED
    assert git(rig.repo, "show", "coord/main:b.txt") == "theirs"
    assert fingerprint(rig.repo) == before


async def test_the_users_own_commits_are_merged_in_as_a_checked_tree(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"a.txt": "dirty\n"})
        await rig.work("w1", "one", {"b.txt": "b\n"})
        await rig.ended("one")
        git(rig.repo, "checkout", "-q", "a.txt")
        git(rig.repo, "commit", "-q", "--allow-empty", "-m", "mine")
        write(rig.repo, {"c.txt": "mine\n"})
        git(rig.repo, "add", "c.txt")
        git(rig.repo, "commit", "-q", "-m", "mine, too")
        await rig.work("w1", "two", {"d.txt": "d\n"})
        change = await rig.ended("two")
        await until_at(rig.repo, "main", change.landed_commit)
        await until_clean(rig.repo)

    assert change.state == LANDED
    names = git(rig.repo, "ls-tree", "--name-only", change.landed_commit).split()
    assert names == ["a.txt", "b.txt", "c.txt", "d.txt"]


async def test_a_target_that_conflicts_with_what_has_landed_pauses(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"a.txt": "dirty\n"})
        await rig.work("w1", "one", {"a.txt": "one\nLANDED\nthree\n"})
        landed = await rig.ended("one")
        git(rig.repo, "commit", "-q", "-a", "-m", "mine")
        await rig.paused("TARGET_CONFLICT")
        queue = await rig.merge_queue()

    assert "a.txt" in queue.paused.message
    assert queue.target_commit == landed.landed_commit


async def test_without_a_check_nothing_lands_unless_the_operator_says_so(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, "")
    park(rig.repo)
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.paused("NO_CHECK")
        waiting = await rig.change("t")
        rig.settings["no_check"] = True
        await rig.restart()
        change = await rig.ended("t")

    assert (waiting.state, change.state) == (QUEUED, LANDED)


async def test_a_cancelled_tasks_check_is_stopped_and_its_work_kept(tmp_path: Path) -> None:
    began = tmp_path / "began"
    check = f"touch {began}; sleep 600"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        main = git(rig.repo, "rev-parse", "main")
        await rig.work("w1", "t", {"b.txt": "b\n"})

        async def has_begun() -> bool:
            return began.exists()

        await until(has_begun)
        cancel = queue_pb2.CancelTasksRequest(project="demo", task_ids=["t"], message="enough")
        await rig.queue.CancelTasks(cancel)
        change = await rig.ended("t")

    assert change.state == STALE
    assert "cancelled" in change.message
    assert git(rig.repo, "show", f"{change.wip_ref}:b.txt") == "b"
    assert git(rig.repo, "rev-parse", "main") == main


async def test_a_green_change_whose_lease_is_gone_does_not_land(tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    check = f"touch {began}; while ! test -e {go}; do sleep 0.02; done"
    async with running(rig_at(tmp_path, check, renew_s=600)) as rig:
        park(rig.repo)
        main = git(rig.repo, "rev-parse", "main")
        await rig.work("w1", "t", {"b.txt": "b\n"})

        async def has_begun() -> bool:
            return began.exists()

        await until(has_begun)
        await rig.queue.CancelTasks(
            queue_pb2.CancelTasksRequest(project="demo", task_ids=["t"], message="enough")
        )
        go.touch()
        change = await rig.ended("t")

    assert change.state == STALE
    assert [run.passed for run in change.runs] == [True]
    assert git(rig.repo, "rev-parse", "main") == main


@pytest.mark.parametrize("parked", [False, True])
async def test_a_task_that_is_cancelled_while_its_change_is_handed_over_does_not_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, parked: bool
) -> None:
    rig = rig_at(tmp_path)
    if parked:
        park(rig.repo)
    hand_over = Repository.hand_over

    async def then_cancel(self: Repository, commit_id: str, ref: str) -> None:
        await hand_over(self, commit_id, ref)
        if ref == LANDING and "t" in rig.tokens:
            cancel = queue_pb2.CancelTasksRequest(project="demo", task_ids=["t"], message="enough")
            await rig.queue.CancelTasks(cancel)

    async with running(rig):
        worktree = await rig.begin("w1", "t")
        tip = (await rig.merge_queue()).target_commit
        monkeypatch.setattr(Repository, "hand_over", then_cancel)
        write(worktree, {"b.txt": "b\n"})
        await rig.submit("w1", "t")
        change = await rig.ended("t")
        after = (await rig.merge_queue()).target_commit

    assert change.state == STALE
    assert after == tip


async def test_an_attempt_without_a_change_completes_its_task(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        change = await rig.work("w1", "t", {})
        await rig.reported("t", COMPLETE)

    assert change.state == integrator_pb2.CHANGE_STATE_EMPTY


async def test_changes_are_listed_in_pages(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        for number in range(3):
            await rig.work("w1", f"t{number}", {})
        request = integrator_pb2.ListChangesRequest(project="demo", page_size=2)
        first = await rig.integrator.ListChanges(request)
        request.page_token = first.next_page_token
        second = await rig.integrator.ListChanges(request)

    assert [change.change_id for change in first.changes] == ["t0@1", "t1@2"]
    assert [change.change_id for change in second.changes] == ["t2@3"]
    assert second.next_page_token == ""


async def test_what_is_paused_does_not_land_until_it_is_resumed_also_across_restarts(
    tmp_path: Path,
) -> None:
    began = tmp_path / "began"
    check = f"touch {began}; while ! test -e {tmp_path}/go; do sleep 0.02; done"
    async with running(rig_at(tmp_path, check)) as rig:
        await rig.work("w1", "t", {"b.txt": "b\n"})

        async def has_begun() -> bool:
            return began.exists()

        await until(has_begun)
        pause = integrator_pb2.PauseMergingRequest(project="demo", message="lunch")
        await rig.integrator.PauseMerging(pause)
        (tmp_path / "go").touch()
        await rig.restart()

        async def is_queued() -> bool:
            return (await rig.change("t")).state == QUEUED

        await until(is_queued)
        paused = (await rig.merge_queue()).paused
        assert (paused.code, paused.message) == ("PAUSED", "lunch")
        resume = integrator_pb2.ResumeMergingRequest(project="demo")
        await rig.integrator.ResumeMerging(resume)
        assert (await rig.ended("t")).state == LANDED
