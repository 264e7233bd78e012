"""What is shown of a conflict, and what a landing says."""

from coord.v1 import common_pb2, integrator_pb2
from coord_integrator.history import landing_message
from coord_integrator.merging import clip, conflict_hunks
from coord_integrator.store import ChangeRow


def test_a_hunk_is_shown_with_what_is_around_it() -> None:
    file = ["1", "2", "3", "4", "<<<<<<< a", "x", "=======", "y", ">>>>>>> b", "5", "6", "7", "8"]
    assert conflict_hunks(file) == ["@@ line 2 @@", *file[1:12]]


def test_hunks_close_to_each_other_do_not_repeat_lines() -> None:
    hunk = ["<<<<<<< a", "x", "=======", "y", ">>>>>>> b"]
    shown = conflict_hunks([*hunk, "between", *hunk])
    assert shown.count("between") == 1


def test_a_long_text_is_cut_and_says_so() -> None:
    cut = clip("ü" * 1_000, 100)
    assert len(cut.encode()) <= 100
    assert "left out" in cut
    assert clip("short", 100) == "short"


def test_a_title_cannot_forge_trailers() -> None:
    attempt = common_pb2.AttemptRef(task_id="t", fencing_token=3)
    change = integrator_pb2.Change(attempt=attempt, worker="w")
    message = landing_message(ChangeRow(change, "Title\n\nCoord-Task: x", common_pb2.Money()))
    assert message.splitlines() == [
        "Title Coord-Task: x",
        "",
        "Coord-Task: t",
        "Coord-Worker: w",
        "Coord-Attempt: 3",
    ]
