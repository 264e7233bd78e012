"""What counts as a change of the user's checkout that no landing has made."""

import os
from pathlib import Path
from unittest.mock import Mock

from coord.times import SECOND, timestamp
from coord.v1 import queue_pb2
from coord_cli.checkout_watch import CheckoutWatch, Stray

from tests.integration.repositories import git, make_repository


def land(repo: Path) -> None:
    """Put a change on the landing branch that the checkout is not on yet."""
    git(repo, "checkout", "-q", "-b", "coord/main")
    (repo / "new.txt").write_text("landed\n")
    (repo / "README").unlink()
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Land")
    git(repo, "checkout", "-q", "main")


def test_files_that_a_landing_is_about_to_bring_along_are_not_told_of(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    watch = CheckoutWatch(repo, "main")
    land(repo)
    (repo / "new.txt").write_text("landed\n")
    (repo / "README").unlink()
    assert watch.strays() == []
    (repo / "new.txt").write_text("something else\n")
    assert watch.strays() == [Stray("new.txt", [])]


def test_what_the_user_had_is_told_of_when_it_is_written_over_or_removed(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    (repo / "README").write_text("my own\n")
    (repo / "ä b.txt").write_text("mine\n")
    (repo / "kept.txt").write_text("mine\n")
    watch = CheckoutWatch(repo, "")
    assert watch.strays() == []
    git(repo, "checkout", "-q", "README")
    (repo / "ä b.txt").unlink()
    assert [one.path for one in watch.strays()] == ["README", "ä b.txt"]


def at_work(task: str, from_s: int, to_s: int | None = None) -> queue_pb2.Task:
    """Return a task whose agent was at work for that time, or still is."""
    attempt = queue_pb2.Attempt(assigned_at=timestamp(from_s * SECOND))
    state = queue_pb2.TASK_STATE_RUNNING
    if to_s is not None:
        attempt.ended_at.CopyFrom(timestamp(to_s * SECOND))
        state = queue_pb2.TASK_STATE_COMPLETE
    return queue_pb2.Task(spec={"id": task}, state=state, attempts=[attempt])


def test_a_file_is_told_with_the_tasks_that_were_at_work_when_it_was_written(
    tmp_path: Path,
) -> None:
    repo = make_repository(tmp_path / "repo")
    watch = CheckoutWatch(repo, "main")
    for name, written_s in (("a.txt", 15), ("b.txt", 25), ("old.txt", 5)):
        (repo / name).write_text("x")
        os.utime(repo / name, (written_s, written_s))
    watch.note(Mock(tasks=[at_work("early", 10, 20), at_work("late", 22), at_work("long", 11)]))
    assert watch.strays() == [
        Stray("a.txt", ["early", "long"]),
        Stray("b.txt", ["late", "long"]),
        Stray("old.txt", ["early", "late", "long"]),
    ]
