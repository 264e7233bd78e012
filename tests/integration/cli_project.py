"""A repository with a plan, and the `coord` command on it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from coord_cli.main import main

from tests.integration.repositories import ENVIRONMENT, git, make_repository

COORD = [sys.executable, "-c", "from coord_cli.main import main; main()"]
AGENT = """
    echo "at $COORD_TASK_ID"
    echo '{"cost_usd": 0.01}' >>$COORD_COST_FILE
    cat >$COORD_TASK_ID.txt
"""


class Project:
    """A repository, its state, and the command on both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = make_repository(folder / "repo")
        self.where = ("--repo", str(self.repo), "--state", str(folder / "state"))

    def plan(self, *tasks: str, head: str = "") -> str:
        path = self.folder / "plan.toml"
        path.write_text(head + "".join(f"[[tasks]]\nprompt = 'x'\n{task}\n" for task in tasks))
        return str(path)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *COORD,
            *arguments,
            *self.where,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
        )

    async def call(self, *arguments: str) -> tuple[int, str]:
        """Call a short command in this process."""
        result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, *self.where])
        return result.exit_code, result.output

    async def run(self, plan: str, *arguments: str, agent: str = AGENT) -> tuple[int, str]:
        process = await self.start(*self.command(plan, *arguments, agent=agent))
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def run_json(self, plan: str, *arguments: str, agent: str = AGENT) -> tuple[int, Any]:
        status, output = await self.run(plan, "--json", *arguments, agent=agent)
        return status, json.loads(output.splitlines()[-1])

    def command(self, plan: str, *arguments: str, agent: str = AGENT) -> Sequence[str]:
        check = () if "--no-check" in arguments else ("--check", "test -f README")
        return ("run", plan, "--agent", agent, "--workers", "2", *check, *arguments)

    def landed(self) -> set[str]:
        branches = git(self.repo, "branch", "--format=%(refname:short)").splitlines()
        branch = "coord/main" if "coord/main" in branches else "main"
        return set(git(self.repo, "ls-tree", "--name-only", branch).splitlines())

    def pids(self) -> list[int]:
        """Return what the agents have written into files named `*.pid`."""
        found = (self.folder / "state").glob("worktrees/**/*.pid")
        return [int(path.read_text()) for path in found if path.read_text()]

    @asynccontextmanager
    async def up(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await self.start("up", "--json", "--check", "test -f README", *arguments)
        assert process.stdout is not None
        line = b""
        while not line.startswith(b'{"project"'):
            line = await asyncio.wait_for(process.stdout.readline(), 60)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
