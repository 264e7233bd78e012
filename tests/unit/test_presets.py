"""What the presets run, and what they make of answers that the real programs gave."""

from pathlib import Path

import pytest
from coord.v1 import queue_pb2 as pb
from coord_worker.agents import agent_of
from coord_worker.answers import Answer, Ended

RECORDED = Path(__file__).parent / "answers/recorded"
# 2026-11-22 20:00 UTC
NOW_NS = 1_795_377_600 * 10**9


def recorded(name: str, exit_status: int, *args: str) -> Answer:
    """Return what a preset makes of an answer; those of .err were printed as errors."""
    stdout, stderr = (
        path.read_bytes() if path.exists() else b""
        for path in (RECORDED / f"{name}.txt", RECORDED / f"{name}.err")
    )
    agent = agent_of(name.partition("_")[0], args)
    return agent.read_answer(Ended(exit_status, stdout, stderr, NOW_NS))


@pytest.mark.parametrize(
    ("name", "text", "usage"),
    [
        # It counts in thousands.
        ("aider_success", "", (1_500, 40, 0, 3_800_000)),
        ("claude_success", "Wrote done.txt.", (2_400, 80, 600, 14_300_000)),
        ("codex_success", "Wrote done.txt.", (2_400, 80, 600, None)),
        ("gemini_success", "Wrote done.txt.", (3_600, 120, 900, None)),
        ("opencode_success", "Wrote done.txt.", (2_400, 80, 600, 2_560_000)),
    ],
)
def test_a_success_has_its_text_and_what_it_used(
    name: str, text: str, usage: tuple[int, int, int, int | None]
) -> None:
    done = recorded(name, 0)
    assert (done.reason, done.message) == (None, text)
    parts = [one.usage for one in done.expenses]
    known = [one.nanos for one in done.expenses if one.nanos is not None]
    assert usage == (
        sum(one.input_tokens for one in parts),
        sum(one.output_tokens for one in parts),
        sum(one.cache_read_tokens for one in parts),
        sum(known) if known else None,
    )


LIMITED, ERROR = pb.FAILURE_REASON_RATE_LIMITED, pb.FAILURE_REASON_AGENT_ERROR
REFUSED, UNAVAILABLE = pb.FAILURE_REASON_REFUSED, pb.FAILURE_REASON_AGENT_UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "exit_status", "reason"),
    [
        ("aider_auth", 0, UNAVAILABLE),
        ("aider_limit", 0, LIMITED),
        ("aider_refusal", 0, ERROR),
        ("claude_auth", 1, UNAVAILABLE),
        ("claude_budget", 1, pb.FAILURE_REASON_OUT_OF_BUDGET),
        ("claude_credit", 1, UNAVAILABLE),
        ("claude_limit", 1, LIMITED),
        ("claude_overloaded", 1, LIMITED),
        ("claude_refusal", 1, REFUSED),
        ("codex_auth", 1, UNAVAILABLE),
        ("codex_failed", 1, LIMITED),
        ("codex_limit", 1, LIMITED),
        ("codex_overloaded", 1, LIMITED),
        ("codex_quota", 1, UNAVAILABLE),
        ("codex_usage", 1, LIMITED),
        ("gemini_auth", 144, UNAVAILABLE),
        ("gemini_daily", 173, LIMITED),
        ("gemini_refusal", 0, REFUSED),
        ("opencode_auth", 1, UNAVAILABLE),
        ("opencode_limit", 1, LIMITED),
        ("opencode_overloaded", 1, LIMITED),
        ("opencode_quota", 1, UNAVAILABLE),
        ("opencode_refusal", 1, REFUSED),
    ],
)
def test_errors_are_told_apart(name: str, exit_status: int, reason: pb.FailureReason) -> None:
    failed = recorded(name, exit_status)
    assert failed.reason == reason
    assert failed.message


@pytest.mark.parametrize("name", ["aider_limit", "codex_failed", "opencode_limit"])
def test_a_limit_says_for_how_long_it_holds(name: str) -> None:
    assert recorded(name, 1).not_before_ns == NOW_NS + 20 * 10**9


@pytest.mark.parametrize("name", ["claude_limit", "codex_limit", "gemini_daily"])
def test_a_limit_that_names_no_time_has_none(name: str) -> None:
    assert recorded(name, 1).not_before_ns is None


def test_what_an_error_has_cost_is_booked() -> None:
    assert [one.nanos for one in recorded("claude_refusal", 1).expenses] == [7_150_000]
    assert [one.nanos for one in recorded("opencode_refusal", 1).expenses] == [1_280_000]


def test_the_model_of_the_arguments_is_booked_where_the_answer_names_none() -> None:
    (expense,) = recorded("codex_success", 0, "--model=gpt-5").expenses
    assert expense.usage.model == "gpt-5"


def test_nobody_is_asked_and_the_prompt_is_no_argument() -> None:
    commands = {
        "claude": "claude -p --output-format json --permission-mode acceptEdits",
        "codex": "codex exec --json --sandbox workspace-write -",
        "gemini": "gemini --output-format json --skip-trust --approval-mode auto_edit",
        "opencode": "opencode run --format json",
    }
    assert commands == {name: " ".join(agent_of(name).command("")) for name in commands}
    shell, _, script, *aider = agent_of("aider").command("")
    assert (shell, aider[:2]) == ("/bin/sh", ["aider", "aider"])
    assert '--message-file "$COORD_PROMPT_FILE"' in script
    assert "--yes-always" in aider


@pytest.mark.parametrize(
    ("name", "args", "added"),
    [
        ("claude", ["--permission-mode=plan"], "acceptEdits"),
        ("codex", ["--sandbox", "read-only"], "workspace-write"),
        ("gemini", ["--yolo"], "auto_edit"),
    ],
)
def test_permissions_of_the_operator_win(name: str, args: list[str], added: str) -> None:
    assert added in agent_of(name).command("")
    command = agent_of(name, args).command("")
    assert added not in command
    assert set(args) < set(command)


@pytest.mark.parametrize(
    ("name", "args", "provider"),
    [
        ("claude", [], "anthropic"),
        ("codex", [], "openai"),
        ("gemini", [], "google"),
        ("aider", [], ""),
        ("aider", ["--model", "sonnet"], "anthropic"),
        ("aider", ["--model=gemini/gemini-2.5-pro"], "google"),
        ("aider", ["--model", "o3-mini"], "openai"),
        ("opencode", ["-m", "openrouter/anthropic/claude-sonnet"], "openrouter"),
        ("true", [], ""),
    ],
)
def test_a_preset_knows_whose_limits_it_is_under(name: str, args: list[str], provider: str) -> None:
    assert agent_of(name, args).provider == provider
