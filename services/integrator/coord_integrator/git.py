"""Runs git: no shell, no hooks, no prompts, nothing inherited that could lead it elsewhere."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

# Set in the environment of everything that an integrator starts, so that a later one on the same
# folder finds what a kill has left running.
MARKER = "COORD_INTEGRATOR_FOLDER"

_GRACE_S = 10.0
_COMPLAINT_MAX = 4_000
_ANSWER_BYTES_MAX = 64 * 2**20

OPTIONS: tuple[str, ...] = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.fsync=committed,reference",
    "-c", "core.quotePath=false",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "protocol.version=2",
    "-c", "fetch.fsckObjects=false",
    "-c", "transfer.fsckObjects=false",
    "-c", "submodule.recurse=false",
    "-c", "safe.directory=*",
)  # fmt: skip


class GitError(Exception):
    """Git has refused.

    Attributes:
        arguments: What git was asked.
        status: Its exit status.
        complaint: What it said.
    """

    def __init__(self, arguments: Sequence[str], status: int, complaint: str) -> None:
        self.arguments = tuple(arguments)
        self.status = status
        self.complaint = complaint.strip()[-_COMPLAINT_MAX:]
        super().__init__(f"git {' '.join(arguments[:6])}: exit {status}: {self.complaint}")


@dataclass(frozen=True)
class Output:
    """What a run of git gave."""

    status: int
    stdout: bytes
    stderr: bytes


def scrubbed_environment() -> dict[str, str]:
    """Return this process's environment without what is git's or Coord's."""
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "COORD_"))
    }


@dataclass(frozen=True)
class Git:
    """Runs git in one folder.

    Attributes:
        folder: Where it runs.
        variables: Environment variables on top of the scrubbed environment.
        options: Options before the command, on top of `OPTIONS`.
        held: File descriptors that each git inherits, so that a lock on them outlives this process
            for as long as git does.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    held: tuple[int, ...] = ()

    def at(self, folder: Path) -> Self:
        """Return the same in another folder."""
        return replace(self, folder=folder)

    def holding(self, *descriptors: int) -> Self:
        """Return the same, with each git inheriting file descriptors."""
        return replace(self, held=(*self.held, *descriptors))

    def with_options(self, *options: str) -> Self:
        """Return the same with more options before the command."""
        return replace(self, options=(*self.options, *options))

    def with_variables(self, **variables: str) -> Self:
        """Return the same with more environment variables."""
        return replace(self, variables={**self.variables, **variables})

    async def run(self, *arguments: str, stdin: bytes = b"", ok: Sequence[int] = (0,)) -> Output:
        """Run git to its end.

        Args:
            arguments: Command and arguments.
            stdin: What it reads.
            ok: Exit statuses that are answers.

        Raises:
            GitError: for any other exit status.
        """
        process = await self.begin(*arguments)
        try:
            stdout, stderr = await process.communicate(stdin)
        except BaseException:
            await end(process)
            raise
        status = process.returncode if process.returncode is not None else -1
        if status not in ok:
            complaint = (stderr or stdout).decode(errors="replace")
            raise GitError(arguments, status, complaint)
        return Output(status, stdout, stderr)

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start git; see `end`."""
        return await asyncio.create_subprocess_exec(
            "git",
            *OPTIONS,
            *self.options,
            *arguments,
            cwd=self.folder,
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=self.held,
            limit=_ANSWER_BYTES_MAX,
        )

    async def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Return what git prints, without the line end."""
        return os.fsdecode((await self.run(*arguments, stdin=stdin)).stdout).rstrip("\n")

    async def optional(self, *arguments: str) -> str | None:
        """Return what git prints, or None where it exits with 1."""
        output = await self.run(*arguments, ok=(0, 1))
        return os.fsdecode(output.stdout).rstrip("\n") if output.status == 0 else None

    async def items(self, *arguments: str, stdin: bytes = b"") -> list[str]:
        """Return the NUL-terminated items that git prints."""
        return split((await self.run(*arguments, stdin=stdin)).stdout)

    async def succeeds(self, *arguments: str) -> bool:
        """Tell whether git exits with 0 rather than 1."""
        return (await self.run(*arguments, ok=(0, 1))).status == 0

    def _environment(self) -> dict[str, str]:
        fixed = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        return {**scrubbed_environment(), **fixed, **self.variables}


def split(output: bytes) -> list[str]:
    """Return the NUL-terminated items of an output; file names keep bytes that are not UTF-8."""
    return os.fsdecode(output).split("\0")[:-1]


def join(items: Sequence[str]) -> bytes:
    """Return items, NUL-terminated, as git's `-z --stdin` reads them."""
    return b"".join(os.fsencode(item) + b"\0" for item in items)


async def end(process: asyncio.subprocess.Process) -> None:
    """End git the way that lets it remove its lock files."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
