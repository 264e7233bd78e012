"""What a worker makes of agents that fail, or that do too much."""

from pathlib import Path
from typing import Any

import psutil
import pytest
from coord.environment import SYSTEM
from coord.times import timestamp_ns
from coord.v1 import queue_pb2
from coord_worker.folders import log_path
from coord_worker.reports import Expenses
from coord_worker.watched import WatchedFile

from tests.integration.waiting import until
from tests.integration.worker_bench import bench, install_claude


@pytest.mark.parametrize(
    ("agent", "reason", "message"),
    [
        (
            """echo '{"reason": "refused", "message": "not this"}' >$COORD_RESULT_FILE; exit 1""",
            queue_pb2.FAILURE_REASON_REFUSED,
            "not this",
        ),
        ("exit 75", queue_pb2.FAILURE_REASON_RATE_LIMITED, "the agent says: rate_limited"),
        (
            "echo '{\"reason\": [1]}' >$COORD_RESULT_FILE; exit 75",
            queue_pb2.FAILURE_REASON_AGENT_ERROR,
            "the agent exited with status 75",
        ),
        ("kill -9 $$", queue_pb2.FAILURE_REASON_AGENT_CRASHED, "the agent was ended by signal 9"),
        (
            "sh -c 'kill -9 $$'; exit",
            queue_pb2.FAILURE_REASON_AGENT_CRASHED,
            "the agent was ended by signal 9",
        ),
        (
            "echo first; echo 'no model named x' >&2; exit 3",
            queue_pb2.FAILURE_REASON_AGENT_ERROR,
            "the agent exited with status 3: no model named x",
        ),
    ],
)
async def test_any_agent_can_say_why_it_failed(
    tmp_path: Path, agent: str, reason: queue_pb2.FailureReason, message: str
) -> None:
    async with bench(tmp_path, agent) as one:
        one.assign()
        (failed,) = await one.fake.until_said("failed")
    assert (failed.reason, failed.message) == (reason, message)


async def test_an_agent_can_say_until_when_it_is_limited(tmp_path: Path) -> None:
    agent = """
        echo '{"reason": "rate_limited", "retry_after_s": 500}' >$COORD_RESULT_FILE; exit 75
    """
    async with bench(tmp_path, agent, provider="openai") as one:
        one.assign()
        (failed,) = await one.fake.until_said("failed")
        wait_ns = timestamp_ns(failed.not_before) - SYSTEM.now_ns()
        assert one.fake.hellos[0].provider == "openai"
    assert 490 * 10**9 < wait_ns <= 500 * 10**9


async def test_what_an_agent_says_of_a_success_is_not_asked(tmp_path: Path) -> None:
    agent = """echo '{"reason": "refused"}' >$COORD_RESULT_FILE"""
    async with bench(tmp_path, agent) as one:
        one.assign()
        await one.fake.until_said("complete")


async def test_a_script_that_the_worktree_does_not_have_is_told_of(tmp_path: Path) -> None:
    async with bench(tmp_path, "./scripts/agent.sh --yes") as one:
        one.assign()
        (failed,) = await one.fake.until_said("failed")
    assert failed.reason == queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE
    assert "'./scripts/agent.sh' is not there" in failed.message


async def test_what_an_answer_has_cost_is_kept_until_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_claude(tmp_path, monkeypatch, 'printf nonsense >>"$COORD_COST_FILE"')
    async with bench(tmp_path, "claude", acknowledges=False) as one:
        one.assign()
        await one.fake.until_said("complete")
        said = [(spent.entry_id, spent.amount.nanos) for spent in one.fake.said("spent")]
        told: list[Any] = []
        kept = tmp_path / "state/attempts/w1/1/cost"
        WatchedFile(
            kept, Expenses(one.fake.said("spent")[0].attempt, told.append).add_line
        ).finish()
        one.fake.acknowledges = True
    assert [(spent.entry_id, spent.amount.nanos) for spent in told] == said
    assert said[0] == ("t1/1/2", 4_173_000)


async def test_a_prompt_of_a_mebibyte_is_no_argument(tmp_path: Path) -> None:
    prompt = "\u00e4 line\n" * 131_000
    async with bench(tmp_path, "cat >stdin") as one:
        one.assign(prompt=prompt)
        await one.fake.until_said("complete")
    assert one.seen("stdin") == prompt


async def test_an_agent_that_prints_a_gigabyte_costs_neither_memory_nor_disk(
    tmp_path: Path,
) -> None:
    agent = "head -c 1000000000 /dev/zero; echo; echo last"
    before = psutil.Process().memory_info().rss
    async with bench(tmp_path, agent, output_bytes_max=2 * 2**20) as one:
        one.assign()
        await until(lambda: one.fake.said("complete"), timeout_s=60)
        log = log_path(tmp_path / "state", "t1", 1)
        assert log.stat().st_size < 4 * 2**20
    assert psutil.Process().memory_info().rss - before < 100 * 2**20
