import asyncio
import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from coord.times import duration, from_seconds
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2
from coord_worker.folders import log_path

from tests.integration.waiting import gone, until
from tests.integration.worker_bench import bench, install_claude


async def test_an_agent_gets_its_prompt_its_variables_and_its_worktree(tmp_path: Path) -> None:
    os.environ["GIT_DIR"] = "/nowhere"
    os.environ["COORD_OPERATOR_SECRET"] = "x"
    try:
        agent = "cat >stdin; cp $COORD_PROMPT_FILE prompt; env >env; pwd >cwd"
        async with bench(tmp_path, agent) as one:
            ref = one.assign(budget_usd=0.5)
            (complete,) = await one.fake.until_said("complete")
    finally:
        del os.environ["GIT_DIR"], os.environ["COORD_OPERATOR_SECRET"]
    assert complete.attempt == ref
    assert one.seen("stdin") == one.seen("prompt") == "Do it.\n"
    assert one.seen("cwd").strip() == str(one.worktree)
    variables = dict(line.split("=", 1) for line in one.seen("env").splitlines() if "=" in line)
    expected = {
        "COORD_TASK_ID": "t1",
        "COORD_TASK_TITLE": "A title",
        "COORD_ATTEMPT": "1",
        "COORD_FENCING_TOKEN": "1",
        "COORD_WORKER": "w1",
        "COORD_PROJECT": "p",
        "COORD_WORKTREE": str(one.worktree),
        "COORD_BRANCH": "coord/w1/t1",
        "COORD_BASE_COMMIT": "abc",
        "COORD_BUDGET_USD": "0.5",
        "COORD_TOKEN": "secret",
        "COORD_ADDRESS": one.fake.address,
    }
    assert expected == {name: variables.get(name) for name in expected}
    assert variables["HOME"] == os.environ["HOME"]
    assert not {"GIT_DIR", "COORD_OPERATOR_SECRET", "COORD_HANDOFF_FILE"} & set(variables)


async def test_started_comes_before_complete_and_files_are_removed(tmp_path: Path) -> None:
    async with bench(tmp_path, "true") as one:
        one.assign()
        await one.fake.until_said("complete")
        await until(lambda: not any((tmp_path / "state/attempts/w1").iterdir()))
    kinds = [request.WhichOneof("message") for request in one.fake.effects]
    assert kinds == ["started", "complete"]


async def test_a_second_attempt_is_told_what_came_of_the_first(tmp_path: Path) -> None:
    previous = queue_pb2.Attempt(
        number=1,
        reason=queue_pb2.FAILURE_REASON_CHECK_FAILED,
        message="pytest exited with 1",
        detail="E  assert 1 == 2",
        progress=common_pb2.Progress(summary="half of it"),
    )
    async with bench(tmp_path, "cat >stdin; cp $COORD_HANDOFF_FILE handoff") as one:
        one.assign(previous=previous)
        await one.fake.until_said("complete")
    assert one.seen("stdin").startswith("Do it.\n\nA previous attempt at this task ended because")
    assert "The check printed:\n\nE  assert 1 == 2" in one.seen("stdin")
    assert json.loads(one.seen("handoff")) == {
        "attempt": 1,
        "reason": "CHECK_FAILED",
        "message": "pytest exited with 1",
        "detail": "E  assert 1 == 2",
        "progress": "half of it",
    }


async def test_progress_and_costs_are_reported_while_the_agent_runs(tmp_path: Path) -> None:
    agent = """
        echo reading >>$COORD_PROGRESS_FILE
        echo '{"cost_usd": 0.25, "model": "m", "input_tokens": 10}' >>$COORD_COST_FILE
        while ! test -f go; do sleep 0.02; done
        echo nonsense >>$COORD_COST_FILE
        echo '{"cost_usd": 0.5}' >>$COORD_COST_FILE
        printf done >>$COORD_PROGRESS_FILE
    """
    async with bench(tmp_path, agent) as one:
        one.assign()
        (spent,) = await one.fake.until_said("spent")
        await one.fake.until_said("progress")
        (one.worktree / "go").touch()
        await one.fake.until_said("complete")
    assert (spent.entry_id, spent.amount.nanos) == ("t1/1/1", 250_000_000)
    assert (spent.usage.model, spent.usage.input_tokens) == ("m", 10)
    assert [entry.entry_id for entry in one.fake.said("spent")] == ["t1/1/1", "t1/1/3"]
    summaries = [report.progress.summary for report in one.fake.said("progress")]
    assert summaries == ["reading", "done"]
    log = log_path(tmp_path / "state", "t1", 1).read_text()
    assert "COORD_COST_FILE is no cost, and counts as none: 'nonsense'" in log
    assert one.fake.effects[-1].WhichOneof("message") == "complete"


async def test_a_failed_agent_is_reported_with_the_end_of_its_output(tmp_path: Path) -> None:
    async with bench(tmp_path, "seq 100000; echo broken >&2; exit 3") as one:
        one.assign()
        (failed,) = await one.fake.until_said("failed")
    assert failed.reason == queue_pb2.FAILURE_REASON_AGENT_ERROR
    assert failed.message == "the agent exited with status 3: broken"
    assert "broken" in failed.detail
    assert "99999" in failed.detail
    assert len(failed.detail) <= 64 * 1024


async def test_an_agent_that_cannot_be_started_fails(tmp_path: Path) -> None:
    async with bench(tmp_path, "true") as one:
        one.worktree.rmdir()
        one.assign()
        (failed,) = await one.fake.until_said("failed")
    assert "could not be started" in failed.message


async def test_a_timeout_ends_the_agent_and_all_that_it_started(tmp_path: Path) -> None:
    agent = """
        trap '' TERM
        sleep 100 & echo $! >child
        setsid sh -c 'echo $$ >session; sleep 100; true' &
        env -u COORD_ATTEMPT_KEY sleep 100 & echo $! >unmarked
        while true; do sleep 1; done
    """
    async with bench(tmp_path, agent, stop_grace_s=0.2) as one:
        one.assign(timeout_s=0.5)
        pids = [int(await one.until_file(name)) for name in ("child", "session", "unmarked")]
        (failed,) = await one.fake.until_said("failed")
        assert all(gone(pid) for pid in pids)
    assert failed.reason == queue_pb2.FAILURE_REASON_TIMEOUT
    assert failed.message == "the agent was not done after 0.5 s"


async def test_what_an_agent_leaves_running_is_ended_before_it_counts_as_done(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, "setsid sleep 100 & echo $! >child; sleep 0.1") as one:
        one.assign()
        await one.fake.until_said("complete")
        assert gone(int(one.seen("child")))


@pytest.mark.parametrize("order", ["revoke", "cancel"])
async def test_a_lost_attempt_is_stopped_and_reported_no_more(tmp_path: Path, order: str) -> None:
    async with bench(tmp_path, "echo $$ >pid; sleep 100") as one:
        ref = one.assign()
        pid = int(await one.until_file("pid"))
        orders: dict[str, Any] = {
            "revoke": coordinator_pb2.Revoke(attempt=ref),
            "cancel": coordinator_pb2.Cancel(attempt=ref),
        }
        one.fake.send(**{order: orders[order]})
        await until(lambda: gone(pid))
        one.assign("t2")
        await one.fake.until_said("started", 2)
    assert not one.fake.said("failed")
    assert [released.attempt.task_id for released in one.fake.said("released")] == ["t2"]


async def test_the_next_attempt_waits_until_a_lost_one_has_left_the_worktree(
    tmp_path: Path,
) -> None:
    agent = """
        test -f pid && { kill -0 $(cat pid) && touch overlap; exit 0; }
        trap '' TERM; echo $$ >pid; while true; do sleep 1; done
    """
    async with bench(tmp_path, agent, stop_grace_s=0.3) as one:
        ref = one.assign()
        await one.until_file("pid")
        one.fake.send(revoke=coordinator_pb2.Revoke(attempt=ref))
        one.assign("t2")
        await one.fake.until_said("complete")
    assert not (one.worktree / "overlap").exists()


async def test_an_agent_is_stopped_when_its_budget_is_spent(tmp_path: Path) -> None:
    async with bench(tmp_path, "echo $$ >pid; sleep 100") as one:
        ref = one.assign()
        pid = int(await one.until_file("pid"))
        one.fake.send(budget_exceeded=coordinator_pb2.BudgetStop(attempt=ref))
        (failed,) = await one.fake.until_said("failed")
        assert gone(pid)
    assert failed.reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET


async def test_an_agent_that_reports_more_than_its_budget_is_stopped(tmp_path: Path) -> None:
    agent = """echo '{"cost_usd": 0.02}' >>$COORD_COST_FILE; sleep 100"""
    async with bench(tmp_path, agent) as one:
        one.assign(budget_usd=0.01)
        (failed,) = await one.fake.until_said("failed")
    assert failed.reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
    assert one.fake.said("spent")[0].amount.nanos == 20_000_000


async def test_the_preset_runs_claude_and_books_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_claude(tmp_path, monkeypatch, 'echo "$@" >args; cat >prompt')
    async with bench(tmp_path, "claude", agent_args=("--model", "m")) as one:
        one.assign(budget_usd=0.5)
        (complete,) = await one.fake.until_said("complete")
    assert one.seen("args").split()[:4] == ["-p", "--output-format", "json", "--permission-mode"]
    assert one.seen("args").endswith("--max-budget-usd 0.5 --model m\n")
    assert one.seen("prompt") == "Do it.\n"
    assert complete.message == "I added `slugify` to text.py and tests for it."
    spent = [(one.entry_id, one.amount.nanos) for one in one.fake.said("spent")]
    assert spent == [("t1/1/1", 4_173_000), ("t1/1/2", 258_711_500)]


async def test_a_drained_worker_finishes_what_it_has_and_goes(tmp_path: Path) -> None:
    async with bench(tmp_path, "touch begun; while ! test -f go; do sleep 0.02; done") as one:
        one.assign()
        await until((one.worktree / "begun").exists)
        one.fake.send(drain=coordinator_pb2.Drain(deadline=duration(from_seconds(60))))
        one.assign("t2")
        await one.fake.until_said("released")
        (one.worktree / "go").touch()
        await one.fake.until_said("complete")
    assert [released.attempt.task_id for released in one.fake.said("released")] == ["t2"]
    assert [complete.attempt.task_id for complete in one.fake.said("complete")] == ["t1"]


async def test_what_is_not_done_by_the_deadline_is_given_back(tmp_path: Path) -> None:
    async with bench(tmp_path, "echo $$ >pid; sleep 100") as one:
        one.assign()
        pid = int(await one.until_file("pid"))
        one.fake.send(drain=coordinator_pb2.Drain(deadline=duration(from_seconds(0.1))))
        await one.fake.until_said("released")
        assert gone(pid)


async def test_an_attempt_survives_a_cut_stream(tmp_path: Path) -> None:
    async with bench(tmp_path, "touch begun; while ! test -f go; do sleep 0.02; done") as one:
        ref = one.assign()
        await until((one.worktree / "begun").exists)
        one.fake.cut()
        await one.fake.until_hellos(2)
        (one.worktree / "go").touch()
        await one.fake.until_said("complete")
    assert list(one.fake.hellos[1].held) == [ref]
    assert len(one.fake.said("started")) == 1


async def test_big_output_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    agent = "echo first; yes filler | head -c 6000000; echo; echo last"
    async with bench(tmp_path, agent, output_bytes_max=2 * 2**20) as one:
        one.assign()
        await one.fake.until_said("complete")
        log = log_path(tmp_path / "state", "t1", 1).read_bytes()
    assert log.startswith(b"first\n")
    assert log.endswith(b"last\n")
    assert b"bytes are left out]" in log
    assert len(log) < 2.5 * 2**20


async def test_the_processes_of_a_dead_worker_are_ended_and_its_costs_reported(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state/attempts/w1/7"
    folder.mkdir(parents=True)
    environment = os.environ | {"COORD_ATTEMPT_KEY": "attempt-left"}
    agent = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", "sleep 100; true", env=environment, start_new_session=True
    )
    bystander = await asyncio.create_subprocess_exec("sleep", "100", start_new_session=True)
    record = {
        "task_id": "t0",
        "fencing_token": 7,
        "pid": agent.pid,
        "created": psutil.Process(agent.pid).create_time(),
        "marker": "attempt-left",
    }
    stale = record | {"fencing_token": 8, "pid": bystander.pid, "created": 1.0, "marker": "other"}
    (folder / "processes.json").write_text(json.dumps(record))
    (folder / "cost").write_text('{"cost_usd": 0.1}\n')
    (folder.parent / "8").mkdir()
    (folder.parent / "8/processes.json").write_text(json.dumps(stale))
    (folder.parent / "9").mkdir()
    try:
        async with bench(tmp_path, "true") as one:
            assert gone(agent.pid)
            assert not gone(bystander.pid)
            await one.fake.until_said("failed", 2)
            await until(lambda: not list(folder.parent.iterdir()))
    finally:
        bystander.kill()
        await bystander.wait()
        await agent.wait()
    (spent,) = one.fake.said("spent")
    assert (spent.attempt.fencing_token, spent.entry_id) == (7, "t0/7/1")
    assert [ref.fencing_token for ref in one.fake.hellos[0].held] == [7, 8]
    kinds = [request.WhichOneof("message") for request in one.fake.effects]
    assert kinds == ["spent", "failed", "failed"]


async def test_what_a_dead_worker_left_is_held_until_its_end_is_acknowledged(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state/attempts/w1/7"
    folder.mkdir(parents=True)
    record = {"task_id": "t0", "fencing_token": 7, "pid": 1, "created": 1.0, "marker": "m"}
    (folder / "processes.json").write_text(json.dumps(record))
    async with bench(tmp_path, "true", acknowledges=False) as one:
        (failed,) = await one.fake.until_said("failed")
        await one.fake.until(lambda: one.fake.heartbeats)
        assert list(one.fake.heartbeats[-1].held) == [failed.attempt]
        assert folder.exists()
        one.fake.acknowledges = True
        one.fake.cut()
        await until(lambda: not folder.exists())
        await one.fake.until(lambda: not one.fake.heartbeats[-1].held)
    assert len(one.fake.said("failed")) == 1
