"""The whole in simulation: some of many histories, and that one seed is one history."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.simulation.plan import Plan
from tests.simulation.simulate import shrunk
from tests.simulation.whole import run


@pytest.mark.parametrize("seed", range(4))
def test_with_faults_off_everything_is_done_and_no_promise_was_broken(seed: int) -> None:
    assert run(Plan.worst(seed)).broken == ""


def test_one_seed_is_one_history_in_any_process() -> None:
    plan = Plan.worst(4711)
    here = run(plan)
    program = "import sys; from tests.simulation.simulate import main; main()"
    command = [sys.executable, "-c", program, *plan.command().split()[3:]]
    elsewhere = subprocess.run(
        command,
        env={"PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert here.digest[:16] in elsewhere.stdout


def test_a_history_that_breaks_is_shrunk_to_what_it_takes() -> None:
    def breaks(plan: Plan) -> bool:
        return plan.tasks >= 3 and "crashes" in plan.kinds

    least = shrunk(replace(Plan.worst(0), kinds=frozenset({"crashes", "drops", "red"})), breaks)
    assert least.kinds == {"crashes"}
    assert (least.tasks, least.workers) == (3, 1)
