import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_project import AGENT, Project
from tests.integration.repositories import git
from tests.integration.waiting import gone, until


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def test_a_plan_is_run_landed_and_summed_up(project: Project) -> None:
    plan = project.plan('id = "a"\ntitle = "First"', 'id = "b"\ndeps = ["a"]')
    before = git(project.repo, "status", "--porcelain")
    status, told = await project.run(plan, "--json")
    summary = json.loads(told.splitlines()[-1])
    assert (status, "  a COMPLETE\n" in told) == (0, True)
    assert {"README", "a.txt", "b.txt"} <= project.landed()
    assert (summary["ending"], summary["landed"], summary["cost_usd"]) == ("finished", 2, 0.02)
    first = summary["tasks"][0]
    assert (first["id"], first["title"], first["cost_usd"]) == ("a", "First", 0.01)
    assert git(project.repo, "cat-file", "-t", first["commit"]) == "commit"
    assert git(project.repo, "status", "--porcelain") == before

    assert "main, and with it your checkout, has all that has" in (await project.call("status"))[1]

    status, log = await project.call("logs", "b")
    assert (status, log) == (0, "at b\n")
    status, again = await project.run_json(plan)
    assert status == 0
    commits = [task["commit"] for task in again["tasks"]]
    assert commits == [task["commit"] for task in summary["tasks"]]

    status, output = await project.run(project.plan('id = "a"\npriority = 3'))
    assert (status, "stay as they were: a; what has landed" in output) == (0, True)


async def test_what_did_not_land_is_explained_and_retried_when_asked(project: Project) -> None:
    agent = f"test $COORD_TASK_ID = good || test -e {project.folder}/fixed || exit 1\n{AGENT}"
    plan = project.plan('id = "bad"\nretries = 0', 'id = "next"\ndeps = ["bad"]', 'id = "good"')
    status, output = await project.run(plan, agent=agent)
    assert status == 1
    assert "AGENT_ERROR: the agent exited with status 1" in output
    assert "1 of 3 tasks landed" in output
    (project.folder / "fixed").touch()
    status, output = await project.run(plan, agent=agent)
    assert (status, "1 of 3 tasks landed" in output) == (1, True)
    for options, would in (([], "0 tasks would"), (["--retry-failed"], "2 tasks would")):
        status, output = await project.run(plan, "--dry-run", *options, agent=agent)
        assert (status, would in output) == (0, True), output
    status, output = await project.run(plan, "--retry-failed", agent=agent)
    assert (status, "3 of 3 tasks landed" in output) == (0, True)


async def test_a_run_whose_money_is_spent_ends_and_says_so(project: Project) -> None:
    head = '[plan]\nbudget = "$0.01"\n'
    plan = project.plan('id = "a"', 'id = "b"\ndeps = ["a"]', head=head)
    status, summary = await project.run_json(plan, "--stuck-after", "0.5")
    assert (status, summary["ending"]) == (1, "stuck")
    landed, left = summary["tasks"]
    assert (landed["state"], left["state"]) == ("COMPLETE", "PENDING")
    assert "the budget of run plan" in left["message"]
    assert left["reason"] == "BUDGET_SPENT"
    told = " ".join(Path(summary["report"]).read_text().split())
    assert "- BUDGET_SPENT: raise the budget that is named: `budget` below `[plan]`" in told
    assert "- then the same command goes on with what is left" in told
    told = (await project.call("task", "explain", "b"))[1]
    assert "  BUDGET_SPENT: the budget of run plan" in told
    assert "  NOT_RUNNING: " in told
    status, told = await project.call("doctor")
    assert (status, "wrong: the budget of plan is spent ($0.01 of $0.01)" in told) == (1, True)
    plan = project.plan('id = "a"', 'id = "b"\ndeps = ["a"]', head=head.replace("0.01", "1"))
    assert (await project.run(plan))[0] == 0
    assert "budget of" not in (await project.call("doctor"))[1]


async def test_the_first_interrupt_lets_agents_finish(project: Project) -> None:
    agent = f"echo $$ >a.pid; while ! test -e {project.folder}/go; do sleep 0.02; done"
    run = await project.start(*project.command(project.plan('id = "a"', 'id = "b"'), agent=agent))
    await until(lambda: len(project.pids()) == 2)
    run.send_signal(signal.SIGINT)
    await asyncio.sleep(0.5)
    (project.folder / "go").touch()
    output, _ = await run.communicate()
    assert run.returncode == 130
    assert b"draining" in output
    assert "a.pid" in project.landed()


async def test_the_second_interrupt_gives_back_what_is_not_done(project: Project) -> None:
    plan = project.plan('id = "a"')
    run = await project.start(*project.command(plan, agent="echo $$ >a.pid; sleep 100"))
    await until(project.pids)
    pids = project.pids()
    run.send_signal(signal.SIGINT)
    await asyncio.sleep(0.2)
    run.send_signal(signal.SIGINT)
    output, _ = await run.communicate()
    assert run.returncode == 130
    assert "the same command goes on with what is left" in output.decode()
    assert "the run was interrupted before it was done" in output.decode()
    assert all(map(gone, pids))
    status, summary = await project.run_json(plan)
    assert (status, summary["tasks"][0]["attempts"]) == (0, 2)


async def test_after_a_kill_nothing_runs_on_and_the_same_command_finishes(
    project: Project,
) -> None:
    plan = project.plan('id = "a"', 'id = "b"', 'id = "c"')
    run = await project.start(*project.command(plan, agent="echo $$ >a.pid; sleep 100"))
    await until(lambda: len(project.pids()) == 2)
    pids = project.pids()
    workers = [child.pid for child in psutil.Process(run.pid).children()]
    run.kill()
    await run.communicate()
    await until(lambda: all(map(gone, [*pids, *workers])))
    await nobody_is_said_to_run(project)
    status, summary = await project.run_json(plan)
    assert (status, summary["landed"]) == (0, 3)


async def nobody_is_said_to_run(project: Project) -> None:
    told = (await project.call("status"))[1]
    assert ": not running, " in told
    assert "2 tasks cut off at work; nothing goes on until `coord run` or `coord up`" in told
    told = (await project.call("task", "explain", "a"))[1]
    assert "NOT_RUNNING: its attempt was cut off, and no services run" in told
    assert "LEASED" not in told
    assert "no services run for this" in (await project.call("task", "explain", "c"))[1]
    assert "note: 2 tasks cut off at work: a, b" in (await project.call("doctor"))[1]


async def test_commands_talk_to_running_services(project: Project) -> None:
    async with project.up():
        status, task_id = await project.call("task", "add", "Do it", "--id", "x", "--priority", "7")
        assert (status, task_id) == (0, "x\n")
        status, told = await project.call("task", "explain", "x")
        assert "NO_WORKER" in told
        status, listed = await project.call("task", "list", "--only", "pending", "--json")
        assert json.loads(listed)[0]["spec"]["priority"] == 7
        assert (await project.call("task", "cancel", "x", "nope"))[0] == 1
        assert (await project.call("task", "retry", "x"))[1] == "x: PENDING\n"
        status, state = await project.call("status", "--json")
        assert json.loads(state)["queue"]["counts"][0]["state"] == "TASK_STATE_PENDING"
        workers = await project.start("worker", "--agent", AGENT)
        status, log = await project.call("logs", "x", "--follow")
        assert (status, log) == (0, "at x\n")
        workers.terminate()
        output, _ = await workers.communicate()
        assert (workers.returncode, b"worker w1" in output) == (0, True)
        status, events = await project.call("events", "--json")
        names = [json.loads(line)["name"] for line in events.splitlines()]
        assert names.count("coord:complete") == 1
        assert (await project.call("task", "show", "x"))[0] == 0
    assert "x.txt" in project.landed()


async def test_a_run_goes_on_by_itself_when_the_services_are_killed(project: Project) -> None:
    agent = f"while ! test -e {project.folder}/go; do sleep 0.02; done; {AGENT.strip()}"
    async with project.up() as services:
        plan = project.plan('id = "a"')
        run = await project.start(*project.command(plan, agent=agent))
        await until(lambda: list((project.folder / "state").glob("workers/logs/a/1.log")))
        services.kill()
        await services.wait()
        (project.folder / "go").touch()
        output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
    assert "a.txt" in project.landed()


async def test_what_agents_of_killed_workers_have_spent_counts_before_the_next_begins(
    project: Project,
) -> None:
    agent = f"""
        echo '{{"cost_usd": 0.4}}' >>$COORD_COST_FILE
        echo x >>{project.folder}/agents
        kill -9 $PPID; sleep 100
    """
    plan = project.plan('id = "a"\nbudget = "$0.50"')
    status, summary = await project.run_json(plan, "--workers", "1", agent=agent)
    assert (status, summary["cost_usd"]) == (1, 0.8)
    assert (project.folder / "agents").read_text() == "x\nx\n"


async def test_two_runs_that_begin_together_have_workers_of_their_own(project: Project) -> None:
    agent = f"echo $COORD_WORKER >>{project.folder}/agents; sleep 1"
    plan = project.plan(*(f'id = "{one}"' for one in "abcd"))
    async with project.up():
        command = project.command(plan, "--workers", "2", agent=agent)
        runs = [await project.start(*command) for _ in range(2)]
        outputs = [(await run.communicate())[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert all("4 of 4 tasks done, 0 of them" in output for output in outputs), outputs
    assert len((project.folder / "agents").read_text().splitlines()) == 4


async def test_a_run_tells_its_summary_though_the_services_ended_before(
    project: Project,
) -> None:
    agent = f"echo $$ >a.pid; while ! test -e {project.folder}/go; do sleep 0.02; done"
    async with project.up() as services:
        plan = project.plan('id = "a"')
        run = await project.start(*project.command(plan, agent=agent))
        await until(project.pids)
        (idle,) = [one for one in psutil.Process(run.pid).children() if not one.children()]
        # While it stands still, the run waits for it between its end and its summary.
        idle.suspend()
        (project.folder / "go").touch()
        assert run.stdout is not None
        while b"COMPLETE" not in (line := await run.stdout.readline()):
            assert line
        services.kill()
        await services.wait()
        idle.resume()
        output, _ = await run.communicate()
    assert (run.returncode, "1 of 1 tasks landed" in output.decode()) == (0, True), output.decode()


def test_the_environment_of_the_tests_has_no_settings() -> None:
    assert not [name for name in os.environ if name.startswith("COORD_")]


async def test_a_checkout_that_was_left_behind_is_told_of(project: Project) -> None:
    (project.repo / "README").write_text("my own change\n")
    status, output = await project.run(project.plan('id = "a"'))
    assert status == 0
    assert "`git merge coord/main` brings them in" in output
    assert "main lacks 2 landed commits: your checkout was" in (await project.call("status"))[1]
    assert (project.repo / "README").read_text() == "my own change\n"


async def test_a_task_that_changes_nothing_is_not_told_as_a_commit(project: Project) -> None:
    status, output = await project.run(project.plan('id = "a"'), agent="cat >/dev/null")
    assert status == 0
    assert "no change" in output


async def test_a_worker_of_ones_own_gets_what_it_needs(project: Project) -> None:
    up = await project.start("up", "--no-check")
    assert up.stdout is not None
    while (await project.call("token", "mine"))[0] != 0:
        await asyncio.sleep(0.1)
    status, output = await project.call("token", "mine", "--json")
    assert status == 0
    assert json.loads(output)["COORD_WORKER"] == "mine"
    up.send_signal(signal.SIGTERM)
    await up.communicate()


async def test_a_repository_without_a_commit_is_refused_at_the_start(tmp_path: Path) -> None:
    project = Project(tmp_path)
    empty = tmp_path / "empty"
    git(tmp_path, "init", "-q", "-b", "main", str(empty))
    project.where = ("--repo", str(empty), "--state", str(tmp_path / "state"))
    status, output = await project.run(project.plan('id = "a"'))
    assert status == 2
    assert "make a first commit" in output
