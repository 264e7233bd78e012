"""A git that stays: one process that answers question after question.

The start of a process takes longer than most of what the radar asks.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from coord_integrator.git import Git, GitError, end

T = TypeVar("T")


class GitPipe(Generic[T]):
    """Asks one git that reads questions from its standard input, a line each.

    Args:
        git: Runs it.
        arguments: Command and arguments.
        read: Reads one answer.
    """

    def __init__(
        self,
        git: Git,
        *arguments: str,
        read: Callable[[asyncio.StreamReader], Awaitable[T]],
    ) -> None:
        self._git = git
        self._arguments = arguments
        self._read = read
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def ask(self, questions: Sequence[str]) -> list[T]:
        """Return the answers, in order.

        Raises:
            GitError: where git has ended instead; the next question goes to a new one.
        """
        if not questions:
            return []
        async with self._lock:
            process = self._process or await self._git.begin(*self._arguments)
            # Whatever is left half asked or half read is no use to the next one who asks.
            self._process = None
            try:
                answers = await self._exchange(process, questions)
            except BaseException:
                await end(process)
                raise
            self._process = process
            return answers

    async def close(self) -> None:
        """End git."""
        async with self._lock:
            process, self._process = self._process, None
            if process is not None:
                await end(process)

    async def _exchange(self, process: Any, questions: Sequence[str]) -> list[T]:
        """Write questions and read their answers; all of the process's pipes are open."""
        process.stdin.write(os.fsencode("".join(f"{question}\n" for question in questions)))
        # Git reads on only while its answers are read.
        writing = asyncio.ensure_future(process.stdin.drain())
        try:
            return [await self._read(process.stdout) for _ in questions]
        except asyncio.IncompleteReadError as error:
            complaint = (await process.stderr.read()).decode(errors="replace")
            raise GitError(self._arguments, await process.wait(), complaint) from error
        finally:
            writing.cancel()
            # Unlike a suppressed error of its own, this lets who asks be cancelled meanwhile.
            await asyncio.gather(writing, return_exceptions=True)
