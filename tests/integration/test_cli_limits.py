"""`coord rate` and `coord cost`: limits and money, for people and for agents in shells."""

import asyncio
import csv
import io
import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from coord_cli.adding import add_plan
from coord_cli.command import looking
from coord_cli.main import main
from coord_cli.plan import load_plan
from coord_host.places import locate

from tests.integration.cli_project import Project


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Project]:
    project = Project(tmp_path)
    async with project.up():
        yield project


async def told(project: Project, *arguments: str) -> Any:
    status, output = await project.call(*arguments, "--json")
    assert status == 0, output
    return json.loads(output)


async def test_limits_are_set_shown_and_hit(served: Project) -> None:
    await told(served, "rate", "set", "model/gpt-4o", "--requests", "1:1", "--tokens", "6000")
    acquire = ("rate", "acquire", "gpt-4o", "--output", "100")
    admission = (await told(served, *acquire))["admission"]
    assert admission["max_output_tokens"] == "100"
    status, output = await served.call(*acquire, "--wait", "0s")
    assert status == 1
    assert "coord: place 1 in line, " in output
    status, output = await served.call(*acquire[:-1], "6001", "--wait", "0s")
    assert status == 1
    assert "holds 6000 tokens at the most" in output
    headers = served.folder / "headers"
    headers.write_text("HTTP/1.1 429\r\nretry-after: 30\r\nx: y\r\n")
    settle = ("rate", "settle", admission["call_id"], "gpt-4o", "--status", "429")
    await told(served, *settle, "--headers", str(headers))
    output = (await served.call("rate", "show"))[1]
    assert "model/gpt-4o" in output
    assert "paused by its provider, 29" in output or "paused by its provider, 30" in output
    (bucket,) = await told(served, "rate", "show")
    assert bucket["limits"]["requests"] == {"per_minute": "1", "burst": "1"}
    assert "paused" in (await served.call("events"))[1]


async def test_a_plan_sets_the_limits_that_it_names_and_no_others(tmp_path: Path) -> None:
    project = Project(tmp_path)
    rates = ("--requests", "50:5", "--tokens", "9", "--weight", "w1=2", "--declared-output")
    await told(project, "rate", "set", "api", *rates)
    limits = "[limits.api]\ntokens_per_minute = 70\n[limits.new]\nrequests_per_minute = 3\n"
    plan = load_plan(Path(project.plan('id = "a"', head=limits)))
    async with looking(locate(project.repo, tmp_path / "state")) as services:
        await add_plan(plan, services)
    api, new = await told(project, "rate", "show")
    assert api["limits"] == {
        "requests": {"per_minute": "50", "burst": "5"},
        "tokens": {"per_minute": "70", "burst": "70"},
    }
    assert api["weights"] == {"w1": 2.0}
    assert api["output_counting"] == "OUTPUT_COUNTING_DECLARED"
    assert new["limits"] == {"requests": {"per_minute": "3", "burst": "3"}}


async def test_costs_are_booked_capped_shown_and_exported(served: Project) -> None:
    await told(served, "cost", "budget", "project", "$1", "--per", "day", "--warn-at", "0.5")
    await told(served, "cost", "budget", "task/a", "$0.30")
    assert (await served.call("cost", "add", "task/a", "$0.25"))[0] != 0
    await told(served, "task", "add", "p", "--id", "a")
    for _ in range(2):
        await told(served, "cost", "add", "task/a", "$0.25", "--id", "once", "--model", "m")
    status, output = await served.call("rate", "acquire", "gpt-4o", "--output", "80000")
    assert status == 1
    assert "for the day has $0.75 left" in output
    assert "75000 output tokens would fit" in output
    output = (await served.call("cost", "show", "project", "task/a"))[1]
    assert "$1.00 a day" in output
    assert output.count("$0.25") == 4
    rows = list(csv.DictReader(io.StringIO((await served.call("cost", "show", "--csv"))[1])))
    assert [(row["entry_id"], row["amount"], row["model"]) for row in rows] == [
        ("once", "0.250000000", "m")
    ]
    assert "of $1.00 a day" in (await served.call("events"))[1]


async def test_what_is_set_is_said_shown_and_taken_away_again(served: Project) -> None:
    async def call(*arguments: str) -> str:
        status, output = await served.call(*arguments)
        assert status == 0, output
        return output

    budget = ("cost", "budget", "run/a")
    assert await call(*budget, "$5") == "run/a: $5.00, $0.00 spent\n"
    assert await call(*budget, "$1", "--per", "day") == (
        "run/a: $5.00, $0.00 spent; $1.00 a day, $0.00 spent\n"
    )
    assert "run/a" in await call("cost", "show")
    assert "booked as e1" in await call("cost", "add", "run/a", "$0.25", "--id", "e1")
    left = "left: $1.00 a day, $0.25 spent\n"
    assert await call(*budget, "none") == f"run/a: took away its cap for ever; {left}"
    assert await call(*budget, "none") == f"run/a: there was no cap for ever; {left}"
    said = await call(*budget, "none", "--per", "day")
    assert said == "run/a: took away its cap a day; left: no cap\n"
    assert "run/a" not in await call("cost", "show")
    assert "run a: no cap any more" in await call("events")
    said = await call("rate", "set", "api", "--requests", "50", "--tokens", "6000:100")
    assert said == "api: 50 requests a minute, 50 at once; 6000 tokens a minute, 100 at once\n"
    assert await call("rate", "remove", "api") == "api: removed\n"
    for again in (
        ("rate", "remove", "api"),
        ("rate", "acquire", "gpt-4o", "--output", "1", "--bucket", "api"),
    ):
        status, output = await served.call(*again)
        assert status
        assert "there is no bucket api: configure it first" in output
    process = await served.start("worker", "run", "--agent", "true", "--bucket", "api")
    printed, _ = await process.communicate()
    assert process.returncode
    assert b"there is no bucket api: configure it first" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("rate", "set", "b"),
        ("rate", "set", "b", "--requests", "many"),
        ("rate", "set", "b", "--requests", "1", "--weight", "w"),
        ("cost", "show", "task"),
        ("cost", "show", "project/x"),
        ("cost", "add", "nothing/x", "$1"),
        ("cost", "budget", "project", "one dollar"),
        ("cost", "budget", "project", "none", "--warn-at", "0.5"),
    ],
)
async def test_wrong_usage_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert (await Project(tmp_path).call(*arguments))[0] == 2


async def test_an_agent_in_a_shell_asks_as_its_worker(served: Project) -> None:
    text = (await served.call("token", "w"))[1]
    variables = dict(line.removeprefix("export ").split("=", 1) for line in text.splitlines())
    shell = {name: shlex.split(value)[0] for name, value in variables.items()}

    async def call(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=shell)
        return done.exit_code, done.output

    status, output = await call("rate", "acquire", "claude-sonnet-4-5", "--output", "100")
    assert status == 0, output
    call_id, reserved = output.splitlines()
    assert reserved == "coord: 100 output tokens, $0.0015 reserved"
    settle = ("rate", "settle", call_id, "claude-sonnet-4-5", "--output", "10")
    assert await call(*settle) == (0, "$0.0002\n")
    (balance,) = await told(served, "cost", "show", "worker/w")
    assert balance["posted"]["nanos"] == "150000"
    assert (await call(*settle[:-1], "11"))[0] == 1
