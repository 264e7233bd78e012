import json
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import common_pb2, queue_pb2
from coord_worker.agents import PRESETS, ShellAgent, agent_of, missing
from coord_worker.answers import Answer, Ended
from coord_worker.money import Expense, expense_line, parse_expense, usd_nanos
from coord_worker.presets.claude import ClaudeAgent
from hypothesis import given
from hypothesis import strategies as st

ANSWERS = Path(__file__).parent / "answers"
CLAUDE = ClaudeAgent()


def answer(name: str) -> bytes:
    return (ANSWERS / f"{name}.json").read_bytes()


def read(exit_status: int, stdout: bytes) -> Answer:
    return CLAUDE.read_answer(Ended(exit_status, stdout))


def result(**fields: Any) -> bytes:
    return json.dumps({"type": "result", "subtype": "success"} | fields).encode()


def test_claude_is_asked_for_json_and_may_edit_files() -> None:
    expected = ["claude", "-p", "--output-format", "json", "--permission-mode", "acceptEdits"]
    assert CLAUDE.command("") == expected
    assert CLAUDE.command("0.5") == [*expected, "--max-budget-usd", "0.5"]


def test_the_operators_arguments_come_last_and_win() -> None:
    agent = agent_of("claude", ["--permission-mode", "plan", "--max-budget-usd", "9"])
    expected = ["--permission-mode", "plan", "--max-budget-usd", "9"]
    assert agent.command("0.5") == ["claude", "-p", "--output-format", "json", *expected]


def test_a_success_of_claude_has_its_text_and_one_expense_a_model() -> None:
    done = read(0, answer("claude_success"))
    assert done.reason is None
    assert done.message == "I added `slugify` to text.py and tests for it."
    haiku, opus = done.expenses
    assert (haiku.nanos, opus.nanos) == (4_173_000, 258_711_500)
    assert opus.usage.model == "claude-opus-4-5-20251101"
    assert (opus.usage.input_tokens, opus.usage.output_tokens) == (5, 1_587)
    assert (opus.usage.cache_read_tokens, opus.usage.cache_write_tokens) == (59_073, 30_316)


def test_the_total_counts_where_the_models_do_not_make_it() -> None:
    usage = {"m": {"costUSD": 0.1, "inputTokens": 1}}
    done = read(0, result(total_cost_usd=0.3, modelUsage=usage))
    assert [expense.nanos for expense in done.expenses] == [300_000_000]


def test_a_spent_budget_is_known_with_what_it_cost() -> None:
    failed = read(1, answer("claude_budget"))
    assert failed.reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
    assert failed.message == "Exceeded USD budget (0.4)"
    assert [expense.nanos for expense in failed.expenses] == [420_000_000]


def test_a_limit_of_the_provider_is_known_with_its_reset() -> None:
    failed = read(1, answer("claude_limit"))
    assert failed.reason == queue_pb2.FAILURE_REASON_RATE_LIMITED
    assert failed.not_before_ns == 1_753_077_600 * 10**9


@pytest.mark.parametrize(
    ("text", "limited"),
    [
        ("You've hit your limit \u00b7 resets 7pm (America/Los_Angeles)", True),
        ("You've hit your session limit \u00b7 resets 3pm", True),
        ("API Error: Rate limit reached", True),
        ("I hit a snag: the tests fail", False),
    ],
)
def test_limits_are_known_by_their_words(text: str, *, limited: bool) -> None:
    failed = read(1, result(is_error=True, result=text))
    assert (failed.reason == queue_pb2.FAILURE_REASON_RATE_LIMITED) == limited


def test_an_error_is_a_failure_also_with_status_0() -> None:
    failed = read(0, result(is_error=True, result="API Error: 500"))
    assert failed.reason == queue_pb2.FAILURE_REASON_AGENT_ERROR
    assert failed.message == "API Error: 500"


def test_words_of_a_success_are_not_taken_for_a_limit() -> None:
    done = read(0, result(is_error=False, result="I added a rate limit."))
    assert done.reason is None


def test_denied_tools_are_told() -> None:
    denied = [{"tool_name": "Bash"}, {"tool_name": "Bash"}, {"tool_name": "WebFetch"}]
    done = read(0, result(result="ok", permission_denials=denied))
    assert done.message == "ok\n[3 tool calls were denied: Bash, WebFetch]"


def test_the_result_is_found_behind_other_output() -> None:
    noise = b"warning: something\n"
    assert read(0, noise + answer("claude_success")).expenses
    listed = json.dumps([{"type": "system"}, json.loads(answer("claude_success"))]).encode()
    assert read(0, listed).expenses


def test_output_that_is_no_answer_is_judged_by_the_exit_status() -> None:
    assert read(0, b"hello").reason is None
    failed = read(2, b"hello")
    assert failed.reason == queue_pb2.FAILURE_REASON_AGENT_CRASHED
    assert failed.message == "the agent exited with status 2 without an answer"
    assert ShellAgent("x").read_answer(Ended(-9)).message == "the agent was ended by signal 9"


TEXT = st.text('ab09.| -{}[]":,\n', max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = (
    "api_error_status errors is_error modelUsage permission_denials result subtype "
    "total_cost_usd usage"
)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES.split(), JSON))


@given(FIELDS, st.integers(-15, 255))
def test_no_answer_breaks_the_reading(fields: dict[str, Any], exit_status: int) -> None:
    read(exit_status, result(**fields))


EVENT_TYPES = "error item.completed step_finish text turn.completed turn.failed"
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(EVENT_TYPES.split())},
    optional=dict.fromkeys(
        ["code", "error", "item", "message", "part", "response", "stats", "usage"], JSON
    ),
)


@pytest.mark.parametrize("name", PRESETS)
@given(st.lists(EVENTS, max_size=3), st.integers(-15, 255))
def test_no_event_breaks_the_reading(
    name: str, events: list[dict[str, Any]], exit_status: int
) -> None:
    output = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    agent_of(name).read_answer(Ended(exit_status, output, output))


@pytest.mark.parametrize("name", PRESETS)
@given(st.binary(), st.integers(-15, 255))
def test_no_output_breaks_the_reading(name: str, stdout: bytes, exit_status: int) -> None:
    agent_of(name).read_answer(Ended(exit_status, stdout, stdout))


@given(TEXT | JSON.map(json.dumps))
def test_no_cost_line_breaks_the_reading(line: str) -> None:
    parse_expense(line)


def test_a_cost_line_has_money_or_tokens() -> None:
    assert parse_expense('{"cost_usd": "0.0000000015"}') == parse_expense('{"cost_usd": 2e-9}')
    unpriced = parse_expense('{"input_tokens": 5, "cost_usd": -1}')
    assert unpriced is not None
    assert (unpriced.nanos, unpriced.usage.input_tokens) == (None, 5)
    assert parse_expense('{"cost": 1}') is None


def test_dollars_are_exact() -> None:
    assert usd_nanos(0.1) == 100_000_000
    assert [usd_nanos(value) for value in (True, None, "x", "nan", "inf", -1, 1e300)] == [None] * 7


def test_arguments_go_with_a_preset_only() -> None:
    with pytest.raises(ValueError, match="preset"):
        agent_of("mytool run", ["--fast"])


def test_a_kept_expense_is_read_as_it_was() -> None:
    usage = common_pb2.Usage(model="m", input_tokens=3, cache_read_tokens=2)
    for expense in (Expense(1, usage), Expense(None, usage), Expense(10**18, common_pb2.Usage())):
        assert parse_expense(expense_line(expense)) == expense


def test_a_command_that_the_shell_does_not_find_is_missing(tmp_path: Path) -> None:
    (tmp_path / "agent.sh").touch(mode=0o755)
    assert missing(ShellAgent("./agent.sh --yes"), tmp_path) == ""
    assert missing(ShellAgent("./other.sh --yes"), tmp_path) == "./other.sh"
    assert missing(ShellAgent("cd /; anything"), tmp_path) == ""
    assert missing(ClaudeAgent(executable="no-such-agent"), tmp_path) == "no-such-agent"
