"""Plans that were changed after they had been run."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from coord_cli.main import main

from tests.integration.cli_project import AGENT, Project

# Does what it is asked only where the prompt is `well`; each attempt costs a cent.
PICKY = AGENT.replace("cat >", "grep -x well >")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def write_plan(project: Project, first: str, bad: str, budget: str = "$0.01") -> str:
    path = project.folder / "plan.toml"
    path.write_text(f"""
        [[tasks]]
        id = "first"
        title = "{first}"
        prompt = "well"
        [[tasks]]
        id = "bad"
        prompt = "{bad}"
        deps = ["first"]
        budget = "{budget}"
        retries = 1
        [[tasks]]
        id = "next"
        prompt = "well"
        deps = ["bad"]
    """)
    return str(path)


def call(project: Project, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, [*arguments, *project.where])
    return result.exit_code, result.output


def run(project: Project, plan: str, *options: str) -> tuple[int, str]:
    return call(project, *project.command(plan, *options, agent=PICKY))


def test_a_failed_task_is_tried_again_as_the_plan_has_it_now(project: Project) -> None:
    assert run(project, write_plan(project, "x", "badly", "$0.02"))[0] == 1
    plan = write_plan(project, "changed", "well", "$0.03")
    for options, expected in (([], 1), (["--dry-run"], 0)):
        status, told = run(project, plan, *options)
        assert status == expected
        assert "stay as they were: first; what has landed" in told
        assert "stay as they were: bad; --retry-failed tries them" in told

    call(project, "task", "add", "mine", "--id", "mine", "--dep", "bad")
    status, told = run(project, plan, "--retry-failed")
    assert (status, "`coord task remove mine` first" in told) == (2, True), told
    assert call(project, "task", "remove", "mine")[0] == 0

    status, told = run(project, plan, "--retry-failed", "--dry-run")
    assert (status, "2 tasks would be run" in told) == (0, True), told
    status, told = run(project, plan, "--retry-failed")
    assert (status, "3 of 3 tasks landed" in told) == (0, True), told
    assert "run as the plan has them now: bad\n" in told
    assert call(project, "logs", "bad") == (0, "at bad\n")


def test_what_was_removed_and_not_stored_anew_is_taken_from_the_plan(project: Project) -> None:
    assert run(project, write_plan(project, "x", "badly"))[0] == 1
    needed = "bad: 1 task depends on 'bad': next; remove them too\n"
    assert call(project, "task", "remove", "bad") == (1, needed)
    status, told = call(project, "task", "remove", "bad", "next", "none")
    assert (status, told.splitlines()[:2]) == (1, ["bad: removed", "next: removed"])
    assert "none" in told.splitlines()[2]
    status, told = run(project, write_plan(project, "x", "well", "$0.03"))
    assert (status, "3 of 3 tasks landed" in told) == (0, True), told


def test_waiting_tasks_that_were_changed_are_run_as_they_are_now_when_asked(
    project: Project,
) -> None:
    for name in ("bad", "next"):
        call(project, "task", "add", "as before", "--id", name, "--label", "run=plan")
    plan = write_plan(project, "x", "well")
    for options in ([], ["--dry-run"]):
        status, told = run(project, plan, *options)
        assert status == 2
        assert "had them before: bad (PENDING), next (PENDING); --retry-failed" in told
    status, told = run(project, plan, "--retry-failed", "--dry-run")
    assert (status, "run as the plan has them now: bad, next" in told) == (0, True), told


@pytest.mark.parametrize(
    ("label", "whose"),
    [((), "of `coord task add`: bad (PENDING)"), (("--label", "run=old"), "name = 'old' below")],
)
def test_ids_that_other_tasks_have_are_told(
    project: Project, label: tuple[str, ...], whose: str
) -> None:
    call(project, "task", "add", "mine", "--id", "bad", *label)
    plan = write_plan(project, "x", "well")
    for options in ([], ["--dry-run"], ["--retry-failed"]):
        status, told = run(project, plan, *options)
        assert (status, whose in told) == (2, True), told
