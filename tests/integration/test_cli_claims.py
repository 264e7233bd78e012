"""Claims, messages and steering as people and agents in shells use them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from coord_cli.main import main

from tests.integration.cli_project import COORD, Project
from tests.integration.repositories import ENVIRONMENT


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Project]:
    project = Project(tmp_path)
    async with project.up():
        yield project


async def claimed(project: Project) -> list[str]:
    status, told = await project.call("claims", "--json")
    assert status == 0, told
    return [one["holder"] for one in json.loads(told)]


async def test_a_claim_is_held_while_a_command_runs(served: Project) -> None:
    going, done = served.folder / "going", served.folder / "done"
    script = f"echo $COORD_HOLDER >{going}; while [ ! -e {done} ]; do sleep 0.05; done; exit 7"
    process = await asyncio.create_subprocess_exec(
        *COORD,
        "claim",
        *served.where,
        "src/**",
        "--",
        "timeout",
        "60",
        "sh",
        "-c",
        script,
        env=ENVIRONMENT,
    )
    async with asyncio.timeout(60):
        while not (going.exists() and going.read_text()):
            await asyncio.sleep(0.05)
    holder = going.read_text().strip()
    assert await claimed(served) == [holder]
    assert (await served.call("guard", str(served.repo / "src" / "a.py")))[0] == 2
    mine = ("guard", "--as", holder, str(served.repo / "src" / "a.py"))
    assert (await served.call(*mine))[0] == 0
    status, told = await served.call("claim", "src/a.py")
    refused = "nothing was claimed or run; --wait waits for it"
    assert (status, told) == (1, f"coord: {holder} holds src/**\ncoord: {refused}\n")
    waiting = await served.start("claim", "src/a.py", "--wait", "60s", "--as", "bob")
    async with asyncio.timeout(60):
        while len(await claimed(served)) < 2:
            await asyncio.sleep(0.05)
    done.touch()
    assert await process.wait() == 7
    claim_id = (await waiting.communicate())[0].decode()
    assert waiting.returncode == 0, claim_id
    assert (await claimed(served)) == ["bob"]
    status, told = await served.call("claims", "release", claim_id.strip(), "never")
    assert (status, told.splitlines()[0]) == (1, f"released {claim_id.strip()}")
    assert await claimed(served) == []


async def test_stop_halts_everything_and_resume_lets_it_go_on(served: Project) -> None:
    status, told = await served.call("stop", "--message", "lunch")
    assert (status, told) == (0, "nothing begins or lands until `coord resume`\n")
    assert "everything is stopped until `coord resume`: lunch" in (await served.call("status"))[1]
    assert (await served.call("guard", str(served.repo / "a")))[0] == 2
    plan = served.plan("id = 'a'")
    run = await served.start(*served.command(plan, agent="cat >a.txt"))
    await served.call("task", "add", "x", "--id", "b")
    async with asyncio.timeout(60):
        while "STOPPED" not in (await served.call("task", "explain", "b"))[1]:
            await asyncio.sleep(0.1)
    assert (await served.call("resume"))[0] == 0
    output, _ = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 0, output.decode()
    assert "a.txt" in served.landed()


async def test_a_stop_and_a_pause_of_merging_end_each_by_itself(served: Project) -> None:
    assert (await served.call("merge", "pause", "--message", "frozen"))[0] == 0
    assert (await served.call("stop", "--message", "lunch"))[0] == 0
    assert "frozen; lunch" in (await served.call("merge", "status"))[1]
    told = "tasks begin again, and merging is still paused: frozen\n"
    assert await served.call("resume") == (0, told)
    assert (await served.call("stop", "--message", "dinner"))[0] == 0
    assert await served.call("merge", "resume") == (0, "merging is still paused: dinner\n")
    assert await served.call("resume") == (0, "tasks begin again, and changes land again\n")


async def test_a_strategy_is_told_and_chosen(served: Project) -> None:
    assert await served.call("strategy") == (0, "capability\n")
    told = "tasks are given by round_robin from now on, before by capability\n"
    assert await served.call("strategy", "round_robin") == (0, told)
    assert await served.call("strategy", "--json") == (
        0,
        '{"strategy": "round_robin", "previous": "round_robin"}\n',
    )
    assert (await served.call("strategy", "dice"))[0] == 2


async def test_an_agents_shell_claims_for_its_attempt_and_hears_messages(
    served: Project,
) -> None:
    coord = " ".join(f"'{part}'" for part in COORD)
    agent = f"""
        {coord} claim 'src/**' >../../claim 2>../../err
        {coord} message send hello --to "$COORD_WORKER" >>../../err 2>&1
        {coord} message send 'may I?' --to operator >>../../err 2>&1
        while ! {coord} message inbox | grep -q hello; do sleep 0.1; done
        {coord} guard src/a.py 2>>../../err && echo free >a.txt
    """
    plan = served.plan("id = 'a'")
    status, told = await served.run(plan, "--guard", agent=agent)
    assert status == 0, told
    assert "a.txt" in served.landed(), (served.folder / "state" / "err").read_text()
    assert await claimed(served) == []
    assert (served.folder / "state" / "claim").read_text().startswith("claim-")
    assert (await served.call("message", "inbox"))[1] in {"w1: may I?\n", "w2: may I?\n"}
    assert await served.call("message", "inbox") == (0, "")


async def test_an_agents_shell_reads_and_has_no_say_over_others(served: Project) -> None:
    coord, where = (" ".join(f"'{part}'" for part in parts) for parts in (COORD, served.where))
    agent = f"""
        try() {{ {coord} "$@" >>../../told 2>&1; echo "status $?" >>../../told; }}
        try status --json; try stop {where}; try task add x --id stray; try token other
        try task list; try conflicts; try cost show; try doctor
        echo x >a.txt
    """
    status, told = await served.run(served.plan("id = 'a'"), agent=agent)
    assert status == 0, told
    said = (served.folder / "state" / "told").read_text()
    statuses = [int(line[7:]) for line in said.splitlines() if line.startswith("status ")]
    assert statuses == [0, 1, 1, 2, 0, 0, 0, 0], said
    assert "COORD_TOKEN=" not in said
    assert said.count("NOT_FOR_WORKERS") == 2, said


@pytest.mark.parametrize("command", [("task", "add", "x"), ("token", "other")])
async def test_a_shell_that_has_a_workers_token_is_told_why_it_is_refused(
    served: Project, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    for name, value in json.loads((await served.call("token", "mine", "--json"))[1]).items():
        monkeypatch.setenv(name, value)
    status, said = await served.call(*command)
    assert (status != 0, "`unset COORD_TOKEN` to be the operator again" in said) == (True, True)


async def test_a_guarded_agent_cannot_commit_what_somebody_else_has_claimed(
    served: Project,
) -> None:
    await served.call("claim", "secret/**", "--as", "ann")
    agent = """
        git config user.name t; git config user.email t@example.com
        mkdir secret; echo x >secret/a; git add .
        git commit -qm x 2>told.txt && exit 1
        git rm -rqf --cached secret; rm -r secret
    """
    status, told = await served.run(served.plan("id = 'a'"), "--guard", agent=agent)
    assert status == 0, told
    assert served.landed() >= {"told.txt"}
    assert "secret" not in served.landed()


async def test_a_change_waits_while_somebody_else_claims_what_it_touches(served: Project) -> None:
    claim_id = (await served.call("claim", "a.txt", "--as", "ann"))[1].strip()
    run = await served.start(*served.command(served.plan("id = 'a'", "id = 'b'")))
    async with asyncio.timeout(60):
        while "b.txt" not in served.landed():
            await asyncio.sleep(0.1)
        while "ann claims a.txt" not in (await served.call("task", "explain", "a"))[1]:
            await asyncio.sleep(0.1)
    assert "CLAIMED" in (await served.call("merge", "explain", "a"))[1]
    assert "a.txt" not in served.landed()
    assert (await served.call("claims", "release", claim_id))[0] == 0
    output, _ = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 0, output.decode()
    assert "a.txt" in served.landed()


async def test_a_run_takes_its_own_tasks_unless_it_helps_others(served: Project) -> None:
    await served.call("task", "add", "x", "--id", "stray", "--label", "run=other")
    assert (await served.run(served.plan("id = 'a'", head="[plan]\nname = 'one'\n")))[0] == 0
    assert served.landed() == {"README", "a.txt"}
    why = (await served.call("task", "explain", "stray"))[1]
    assert "NO_WORKER" in why
    helping = served.plan("id = 'b'", head="[plan]\nname = 'two'\n")
    assert (await served.run(helping, "--help-others", "--workers", "1"))[0] == 0
    assert served.landed() == {"README", "a.txt", "b.txt", "stray.txt"}


async def test_a_worker_is_killed_and_drained_by_name(served: Project) -> None:
    agent = "echo $$ >>../../../began; sleep 1000"
    worker = await served.start("worker", "--agent", agent, "--worker-prefix", "x-")
    await served.call("task", "add", "x", "--id", "a")
    async with asyncio.timeout(60):
        while "RUNNING" not in (await served.call("task", "list"))[1]:
            await asyncio.sleep(0.1)
    status, told = await served.call("worker", "kill", "x-w1", "--message", "odd")
    assert (status, told) == (0, "ended x-w1; to go on elsewhere: a\n")
    assert (await served.call("worker", "kill", "nobody"))[0] == 2
    assert (await served.call("worker", "drain", "nobody"))[0] == 1
    told = ""
    async with asyncio.timeout(60):
        while told != "to finish what they have, and go: x-w1\n":
            told = (await served.call("worker", "drain", "x-w1", "--deadline", "1s"))[1]
            await asyncio.sleep(0.1)
    await asyncio.wait_for(worker.communicate(), 60)
    assert worker.returncode == 0


def test_the_commands_tell_what_is_wrong_and_complete(tmp_path: Path) -> None:
    project = Project(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, [*arguments, *project.where])
        return result.exit_code, result.output

    assert call("claim")[0] == 2
    assert call("claim", "a", "--wait", "soon")[0] == 2
    assert "nothing has run yet" in call("claim", "a")[1]
    assert call("message", "send", "x")[0] == 2
    assert call("guard")[0] == 2
    assert call("worker", "drain")[0] == 2
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert "_COORD_COMPLETE" in result.output
    environment = os.environ | {"_COORD_COMPLETE": "bash_complete", "COMP_WORDS": "coord cla"}
    result = CliRunner().invoke(main, prog_name="coord", env=environment | {"COMP_CWORD": "1"})
    assert "plain,claims" in result.output
