import json
import os
from pathlib import Path
from random import Random

import pytest
from coord.environment import Environment
from coord.texts import cut
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2
from coord_worker.agent_files import open_to_append
from coord_worker.conflicts import SENDER, THREAD, as_message
from coord_worker.folders import encode, log_path
from coord_worker.inbox import Inbox
from coord_worker.money import parse_expense
from coord_worker.output import OutputLog, Tail
from coord_worker.prompts import handoff_json, handoff_text, prompt_bytes
from coord_worker.reports import entry_id
from coord_worker.results import read_result
from coord_worker.watched import WatchedFile
from hypothesis import given
from hypothesis import strategies as st

IDS = st.text("abcAB019._-:/@+", min_size=1, max_size=128)


@given(IDS, IDS)
def test_different_tasks_have_different_safe_names(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)
    assert "/" not in encode(one)
    assert encode(one) not in {".", ".."}
    assert len(encode(one)) < 255


@given(IDS, st.integers(1, 2**62), st.integers(1, 10**6))
def test_an_expense_has_an_id_of_legal_length(task: str, token: int, number: int) -> None:
    ref = common_pb2.AttemptRef(task_id=task, fencing_token=token)
    assert entry_id(ref, number).endswith(f"/{token}/{number}")
    assert len(entry_id(ref, number)) <= 128


def test_what_an_agent_puts_in_the_place_of_its_files_is_not_waited_for(tmp_path: Path) -> None:
    pipe, endless = tmp_path / "pipe", tmp_path / "endless"
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    for path in (pipe, endless, tmp_path):
        watched = WatchedFile(path, pytest.fail)
        watched.poll()
        watched.finish()
        assert read_result(path, 1, 0) is None
        with pytest.raises(OSError, match=r"."):
            open_to_append(path)


def test_the_cost_of_a_model_with_an_odd_name_is_booked() -> None:
    expense = parse_expense('{"cost_usd": 0.1, "model": "\\ud800x"}')
    assert expense is not None
    assert (expense.nanos, expense.usage.model) == (10**8, "?x")


def test_an_agent_cannot_ask_to_be_tried_again_at_once(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text('{"reason": "rate_limited", "retry_after_s": 0}')
    answer = read_result(path, 1, 10**9)
    assert answer is not None
    assert answer.not_before_ns == 6 * 10**9


def test_a_watched_file_tells_whole_lines_once(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "progress"
    watched = WatchedFile(path, told.append)
    watched.poll()
    for text in ("one\ntw", "o\n\n  \nthr", "ee"):
        with path.open("a") as file:
            file.write(text)
        watched.poll()
    assert told == ["one", "two"]
    watched.finish()
    watched.finish()
    assert told == ["one", "two", "three"]


def test_lines_after_a_very_long_one_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "cost"
    path.write_text("x" * 3 * 2**20 + "\nafter\nlast")
    WatchedFile(path, told.append).finish()
    assert told[1:] == ["after", "last"]
    assert len(told[0]) == 2**16


def test_the_end_of_a_stream_is_kept() -> None:
    tail = Tail(10)
    for number in range(100):
        tail.feed(b"%03d " % number)
    assert tail.bytes() == b"097 098 099 "
    assert tail.dropped == 97 * 4


def test_a_log_within_its_bound_is_whole(tmp_path: Path) -> None:
    path = log_path(tmp_path, "a/b", 2)
    log = OutputLog(path, 4 * 2**20)
    log.feed(b"x" * 2**20)
    log.feed(b"\nlast")
    log.close()
    assert path == tmp_path / "logs/a%2Fb/2.log"
    assert path.read_bytes() == b"x" * 2**20 + b"\nlast"
    assert log.last_lines(10) == "last"


def test_a_cut_text_is_valid() -> None:
    assert cut("aé", 2) == "a"
    assert cut("a\0b", 10) == "ab"


def test_a_reason_of_a_newer_contract_is_told_as_an_error() -> None:
    previous = queue_pb2.Attempt.FromString(b"\x48\x63")
    assert previous.reason == 99
    assert json.loads(handoff_json(previous))["reason"] == "AGENT_ERROR"
    assert "did not succeed" in handoff_text(previous)


def test_agents_read_of_conflicts_in_their_inbox(tmp_path: Path) -> None:
    environment = Environment(lambda: 7, lambda: 7, Random(1))
    conflict = coordinator_pb2.Conflict()
    conflict.conflicts.add(worker="w2", paths=["a.txt"], hunks="<<<<<<<").attempt.task_id = "t"
    conflict.conflicts.add(paths=["b.txt"])
    inbox = Inbox(tmp_path / "inbox.jsonl")
    inbox.add(as_message(conflict, environment))
    inbox.add(as_message(coordinator_pb2.Conflict(), environment))
    told, over = map(json.loads, (tmp_path / "inbox.jsonl").read_text().splitlines())
    assert (told["sender"], told["thread"]) == ("coord", "conflicts")
    assert "the work of w2 on t in a.txt" in told["body"]
    assert "what has landed in b.txt" in told["body"]
    assert "nobody's work any more" in over["body"]


def test_the_next_agent_hears_nothing_of_the_conflicts_of_the_one_before(tmp_path: Path) -> None:
    environment = Environment(lambda: 7, lambda: 7, Random(1))
    inbox = Inbox(tmp_path / "inbox.jsonl")
    inbox.forget(SENDER, THREAD)
    inbox.add(coordinator_pb2.WorkerMessage(message_id="1", sender="w2", thread=THREAD))
    inbox.add(as_message(coordinator_pb2.Conflict(), environment))
    inbox.forget(SENDER, THREAD)
    inbox.add(coordinator_pb2.WorkerMessage(message_id="1", sender="w2", thread=THREAD))
    (kept,) = map(json.loads, (tmp_path / "inbox.jsonl").read_text().splitlines())
    assert kept["id"] == "1"


def test_the_last_line_of_a_prompt_is_one_for_a_shells_read() -> None:
    for prompt in ("add x", "add x\n"):
        assert prompt_bytes(queue_pb2.Lease(spec=queue_pb2.TaskSpec(prompt=prompt))) == b"add x\n"
    payload = queue_pb2.TaskSpec(payload=b"\x00")
    assert prompt_bytes(queue_pb2.Lease(spec=payload)) == b"\x00"
