"""What a run takes on, what it would do, and what is told of it afterwards."""

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest

from tests.integration.cli_project import AGENT, Project
from tests.integration.repositories import git
from tests.integration.waiting import until

CHAIN = ('id = "a"', 'id = "b"\ndeps = ["a"]', 'id = "c"\ndeps = ["b"]', 'id = "d"')


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(project: Project) -> None:
    head = '[plan]\nbudget = "$1"\n[defaults]\nbudget = "$0.20"\ntimeout = "10m"\n'
    plan = project.plan(*CHAIN[:3], 'id = "d"\npriority = 1\ncapabilities = ["audit"]', head=head)
    workers = ("--workers", "coder=1,auditor=1")
    status, told = await project.run(plan, *workers, "--dry-run", "--json")
    assert status == 0
    found = json.loads(told)
    assert [(one["turn"], one["id"], one["worker"]) for one in found["steps"]] == [
        (1, "d", "auditor"),
        (1, "a", "coder"),
        (2, "b", "coder"),
        (3, "c", "coder"),
    ]
    assert (found["cost_usd_max"], found["critical_path_s"]) == (0.8, 1800)
    assert found["target_check"]
    assert not (project.folder / "state").exists()
    status, told = await project.run(plan, *workers, "--dry-run")
    assert "4 tasks would be run; nothing was started" in told
    assert (await project.run(plan, *workers, "--only", "a"))[0] == 0
    status, told = await project.run(plan, *workers, "--dry-run")
    assert "ended in an earlier run: a" in told
    assert "3 tasks would be run" in told
    assert "the check would not run before the first agent starts" in told
    other = ("--check", "test -d .", "--dry-run", "--json")
    assert json.loads((await project.run(plan, *workers, *other))[1])["target_check"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--check", "no-such-check -q"), "the check 'no-such-check -q' is not there"),
        (("--target", "nowhere"), "has no commit on nowhere"),
        (("--only", "x"), "--only x: no task of the plan is called so"),
        (("--only", "b"), "'b' needs 'a', which has not landed"),
    ],
)
async def test_a_dry_run_tells_what_would_hinder_the_run(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    status, told = await project.run(project.plan(*CHAIN), "--dry-run", *arguments)
    assert status == 2
    assert message in told
    assert not (project.folder / "state").exists()


async def test_a_dry_run_is_refused_where_running_services_have_another_check(
    project: Project,
) -> None:
    plan = project.plan('id = "a"')
    async with project.up():
        status, told = await project.run(plan, "--dry-run", "--check", "true")
        assert (status, "(RUNNING_OTHERWISE)" in told) == (2, True)
        status, told = await project.run(plan, "--dry-run", "--no-check")
        assert "were started with --check 'test -f README', not --no-check; drop --no-" in told
        status, told = await project.run(plan, "--dry-run")
        assert (status, "1 task would be run" in told) == (0, True)


async def test_only_the_chosen_tasks_are_run(project: Project) -> None:
    plan = project.plan(*CHAIN)
    status, told = await project.run(plan, "--only", "b")
    assert status == 2
    assert "'b' needs 'a', which has not landed; --with-deps" in told
    status, summary = await project.run_json(plan, "--only", "[bx]", "--with-deps")
    assert status == 0
    assert [task["id"] for task in summary["tasks"]] == ["a", "b"]
    assert not {"c.txt", "d.txt"} & project.landed()
    status, summary = await project.run_json(plan, "--until", "c")
    assert [task["id"] for task in summary["tasks"]] == ["a", "b", "c"]
    assert "c.txt" in project.landed()
    assert "d.txt" not in project.landed()
    assert (await project.run(plan, "--only", "d"))[0] == 0


async def test_unfinished_tasks_of_another_plan_are_told_at_the_start(project: Project) -> None:
    left = project.plan('id = "old"', head='[plan]\nname = "before"\n')
    run = await project.start(*project.command(left, agent="echo $$ >a.pid; sleep 100"))
    await until(project.pids)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    await run.communicate()
    status, told = await project.run(project.plan('id = "new"'))
    assert status == 0
    assert "coord: 1 unfinished task of plan 'before' may go on too: old" in told


async def test_unfinished_tasks_that_another_run_works_on_are_not_to_be_cancelled(
    project: Project,
) -> None:
    left = project.plan('id = "old"', head='[plan]\nname = "before"\n')
    run = await project.start(*project.command(left, agent="echo $$ >a.pid; sleep 100"))
    await until(project.pids)
    _, told = await project.run(project.plan('id = "new"'))
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    await run.communicate()
    assert "1 unfinished task of plan 'before', which another run works on: old" in told
    assert "`coord task cancel` ends" not in told


async def test_the_report_has_every_attempt_and_every_check(project: Project) -> None:
    agent = """
        echo "{\\"cost_usd\\": 0.0$COORD_ATTEMPT}" >>$COORD_COST_FILE
        test $COORD_TASK_ID = bad && echo broken >README
        test $COORD_ATTEMPT = 1 && test $COORD_TASK_ID = again && echo half >half.txt && exit 3
        cat >$COORD_TASK_ID.txt
    """
    plan = project.plan(
        'id = "again"',
        'id = "bad"\nretries = 0',
        'id = "good"',
    )
    folder = project.folder / "report"
    check = "cat README; ! grep -q broken README"
    status, summary = await project.run_json(
        plan, "--check", check, "--report", str(folder), agent=agent
    )
    assert status == 1
    assert summary["report"] == str(folder / "report.md")
    found = json.loads((folder / "report.json").read_text())
    again, bad, good = found["tasks"]
    assert [one["result"] for one in again["history"]] == ["AGENT_ERROR", "landed"]
    assert [one["cost_usd"] for one in again["history"]] == [0.01, 0.02]
    assert again["history"][0]["worker"].startswith("w")
    landed = good["history"][0]
    assert git(project.repo, "cat-file", "-t", landed["commit"]) == "commit"
    (attempt,) = bad["history"]
    assert [run["passed"] for run in attempt["checks"][:2]] == [False, False]
    assert (folder / attempt["checks"][0]["output"]).read_text() == "broken\n"
    assert git(project.repo, "cat-file", "-t", attempt["kept"]) == "commit"
    assert any("--retry-failed" in step for step in found["next_steps"])
    text = (folder / "report.md").read_text()
    assert "2 of 3 tasks landed" in text
    assert "| bad | FAILED | CHECK_FAILED |" in text
    assert re.search(r"\[red in \d\.\ds\]\(checks/bad-1-1\.txt\)", text)
    assert re.search(r"\[red again in \d\.\ds\]\(checks/bad-1-2\.txt\)", text)
    assert "CHECK_FAILED: `coord logs --check TASK` shows what the check printed" in text
    half = again["history"][0]["kept"]
    assert git(project.repo, "show", f"{half}:half.txt") == "half"
    assert git(project.repo, "log", "-1", "--format=%s", half) == "Unfinished work on again"
    assert half in text
    for command in ("show", "explain"):
        _, told = await project.call("task", command, "again")
        assert f"git log {half}" in told

    status, told = await project.call("logs", "--check", "bad")
    assert status == 0
    assert told.startswith("--- red, exit status 1, on the merged tree (")
    assert "broken" in told


async def test_a_report_that_cannot_be_written_does_not_fail_the_run(project: Project) -> None:
    (project.folder / "file").touch()
    folder = str(project.folder / "file/report")
    status, told = await project.run(project.plan('id = "a"'), "--report", folder)
    assert status == 0
    assert "the report could not be written: " in told
    assert "1 of 1 tasks landed" in told


async def test_commands_answer_from_the_stores_where_nothing_runs(project: Project) -> None:
    plan = project.plan('id = "a"', 'id = "b"\nretries = 0')
    agent = f"test $COORD_TASK_ID = a || exit 1; {AGENT.strip()}"
    assert (await project.run(plan, agent=agent))[0] == 1
    status, told = await project.call("status")
    assert (status, ": not running, " in told) == (0, True)
    assert "COMPLETE  1" in told
    status, told = await project.call("status", "--json")
    found = json.loads(told)
    assert (found["running"], found["status"]["lifecycle"]) == (False, "LIFECYCLE_INIT")
    status, told = await project.call("task", "list", "--json")
    assert [task["spec"]["id"] for task in json.loads(told)] == ["a", "b"]
    status, told = await project.call("task", "show", "a")
    assert (status, "COMPLETE" in told) == (0, True)
    status, told = await project.call("task", "explain", "b")
    assert (status, "ENDED: has failed: the agent exited" in told) == (0, True)
    assert "ended: AGENT_ERROR: the agent exited with status 1" in told
    told = (await project.call("task", "explain", "b", "--json"))[1]
    assert json.loads(told)["attempts"][0]["reason"] == "FAILURE_REASON_AGENT_ERROR"
    status, told = await project.call("events", "--follow")
    assert status == 0
    times = [line.split()[0] for line in told.splitlines()]
    assert times == sorted(times)
    assert "a: PENDING -> ASSIGNED by w" in told
    assert "$0.01 for task a" in told
    assert (await project.run(plan, "--retry-failed"))[0] == 0


async def test_who_follows_is_told_that_the_services_have_ended(project: Project) -> None:
    async with project.up() as services:
        await project.call("task", "add", "x", "--id", "a")
        commands = (("events", "--follow"), ("conflicts", "--watch"))
        followers = [await project.start(*command) for command in commands]
        for follower in followers:
            assert follower.stdout is not None
            await asyncio.wait_for(follower.stdout.readline(), 60)
        services.terminate()
        for follower in followers:
            told, _ = await asyncio.wait_for(follower.communicate(), 60)
            assert told.endswith(b"ended: nothing more will come (SERVICES_ENDED)\n")
            assert follower.returncode == 1


async def test_tasks_are_steered_while_nothing_runs(project: Project) -> None:
    status, told = await project.call("task", "add", "do it", "--id", "mine", "--json")
    assert (status, json.loads(told.splitlines()[-1])) == (0, {"id": "mine", "existing": False})
    status, told = await project.call("task", "cancel", "mine")
    assert (status, told.splitlines()[-1]) == (0, "mine: CANCELLED")
    await project.call("task", "add", "do more", "--id", "more", "--dep", "mine")
    status, told = await project.call("task", "retry", "mine")
    assert (status, told.splitlines()) == (0, ["mine: PENDING", "more: PENDING"])
    # A run that follows has the task, too.
    await project.call("task", "add", "x", "--id", "z", "--label", "run=plan")
    status, told = await project.run(project.plan('id = "a"'), "--only", "a")
    assert status == 0
    assert "of plan 'plan', stored by an earlier run, are not held back by --only and" in told
    assert "2 unfinished tasks without a plan may go on too: mine, more" in told


async def test_a_watched_plan_takes_up_what_is_added_to_it(project: Project) -> None:
    plan = project.plan('id = "a"')
    run = await project.start(*project.command(plan, "--watch"))
    assert run.stdout is not None
    lines: list[str] = []

    async def read_until(text: str) -> None:
        assert run.stdout is not None
        while text not in (line := (await run.stdout.readline()).decode()):
            assert line, lines
            lines.append(line)

    await asyncio.wait_for(read_until("a COMPLETE"), 60)
    project.plan('id = "a"', 'id = "b"\ndeps = ["x"]')
    await asyncio.wait_for(read_until("not taken up: "), 60)
    project.plan('id = "a"\npriority = 1', 'id = "b"\ndeps = ["a"]')
    await asyncio.wait_for(read_until("stay as they were: a"), 60)
    await asyncio.wait_for(read_until("b COMPLETE"), 60)
    run.send_signal(signal.SIGINT)
    output, _ = await run.communicate()
    assert run.returncode == 0
    assert "2 of 2 tasks landed" in output.decode()
    assert {"a.txt", "b.txt"} <= project.landed()


async def test_a_run_without_a_check_goes_on_with_that_of_the_services_that_ended(
    project: Project,
) -> None:
    agent = f"while ! test -e {project.folder}/go; do sleep 0.02; done; {AGENT.strip()}"
    async with project.up() as services:
        arguments = ("run", project.plan('id = "a"'), "--agent", agent, "--workers", "1")
        run = await project.start(*arguments)
        await until(lambda: list((project.folder / "state").glob("workers/logs/a/1.log")))
        services.kill()
        await services.wait()
        (project.folder / "go").touch()
        output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
    assert "a.txt" in project.landed()
