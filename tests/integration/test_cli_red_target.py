"""What a run, `logs` and `doctor` say of a target that fails its own check."""

import json
import signal
from pathlib import Path

import grpc
import grpc.aio
import pytest
from coord_cli.check_runs import ask_target, target_runs
from coord_cli.command import Services

from tests.integration.cli_project import AGENT, Project
from tests.integration.repositories import git
from tests.integration.waiting import gone, until

CHECK = ("--check", "seq 30; test -e ok || exit 3")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def mend(project: Project) -> None:
    (project.repo / "ok").touch()
    git(project.repo, "add", "ok")
    git(project.repo, "commit", "-q", "-m", "mend")


async def test_a_red_target_is_told_before_any_agent_starts(project: Project) -> None:
    plan = project.plan('id = "a"')
    agent = f"touch {project.folder}/started\n{AGENT}"
    status, told = await project.run(plan, *CHECK, agent=agent)
    assert status == 2
    assert "coord: your branch main fails its own check before any task ran: " in told
    assert "exit status 3" in told
    assert "  | [...]\n  | 16\n" in told
    assert "  | 30\nwhat to do: make the check pass on main and commit that" in told
    assert not (project.folder / "started").exists()
    assert json.loads((await project.call("task", "list", "--json"))[1]) == []
    status, told = await project.call("logs", "--check")
    assert (status, told.count("--- red, exit status 3, on the target alone (")) == (0, 2)
    assert "\n1\n2\n" in told
    status, told = await project.call("doctor")
    assert status == 1
    assert "wrong: merging was paused when services ran last: the check failed" in told
    mend(project)
    assert (await project.run(plan, *CHECK, agent=agent))[0] == 0


async def test_who_asks_while_the_target_is_checked_is_told_what_workers_wait_for(
    project: Project,
) -> None:
    began, go = project.folder / "began", project.folder / "go"
    assert (await project.call("task", "add", "--id", "a", "x"))[0] == 0
    check = ("--check", f"touch {began}; until test -e {go}; do sleep 0.05; done")
    run = await project.start(*project.command(project.plan('id = "b"'), *check))
    await until(began.exists)
    _, told = await project.call("task", "explain", "a")
    _, status = await project.call("merge", "status")
    go.touch()
    await run.communicate()
    assert "NO_WORKER: no worker is connected; the check runs on the target alone" in told
    assert "under check for" in status
    assert "the target alone" in status
    assert run.returncode == 0


async def test_a_green_target_is_checked_once_and_not_where_nothing_is_left_to_do(
    project: Project,
) -> None:
    count = project.folder / "count"
    check = ("--check", f"echo x >>{count}")
    plan = project.plan('id = "a"')
    assert (await project.run(plan, *check))[0] == 0
    assert count.read_text() == "x\nx\n"
    assert (await project.run(plan, "--check", f"echo y >>{count}"))[0] == 0
    assert (await project.run(project.plan('id = "b"'), *check))[0] == 0
    assert count.read_text() == "x\n" * 3


async def test_what_waits_behind_a_target_that_turned_red_is_told_with_the_newest_check(
    project: Project,
) -> None:
    agent = f"""
        {AGENT.strip()}
        git -C {project.repo} rm -q ok
        git -C {project.repo} -c user.name=U -c user.email=u@e commit -q -m break
    """
    mend(project)
    plan = project.plan('id = "a"')
    report = project.folder / "report"
    more = ("--stuck-after", "0.2", "--report", str(report))
    status, told = await project.run(plan, *CHECK, *more, agent=agent)
    assert status == 1
    assert "TARGET_RED: merging is paused: " in told
    assert "TARGET_RED: make the check pass on the target alone" in told
    assert "then the same command goes on with what is left" in told
    status, told = await project.call("logs", "--check", "a")
    assert (status, "on the target alone" in told) == (0, True)
    status, told = await project.call("doctor")
    assert (status, "note: 1 in the merge queue, not landed yet: a\n" in told) == (1, True)
    mend(project)
    status, told = await project.run(plan, *CHECK, *more)
    assert status == 0
    (attempt,) = json.loads((report / "report.json").read_text())["tasks"][0]["history"]
    assert [run["passed"] for run in attempt["checks"]] == [True]
    status, told = await project.call("logs", "--check", "a")
    assert (told.count("---"), "--- green, on the merged tree" in told) == (2, True)


async def test_an_interrupt_ends_the_check_of_the_target(project: Project) -> None:
    pid = project.folder / "pid"
    check = ("--check", f"echo $$ >{pid}; sleep 100")
    run = await project.start(*project.command(project.plan('id = "a"'), *check))
    await until(lambda: pid.exists() and pid.read_text())
    run.send_signal(signal.SIGINT)
    output, _ = await run.communicate()
    assert (run.returncode, b"Traceback" in output) == (130, False), output.decode()
    assert b"interrupted while the target was checked; nothing began" in output
    assert gone(int(pid.read_text()))


class Older:
    """Services that know none of the calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def channel(self, _: str) -> grpc.aio.Channel:
        return self._channel


async def test_services_that_do_not_know_of_it_hinder_no_run() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        services = Services.of("p", Older(channel))
        assert (await ask_target(services)).green
        assert await target_runs(services) == []
    await server.stop(0)
