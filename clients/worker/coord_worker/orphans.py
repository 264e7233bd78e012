"""Processes that have left everything by which their attempt is known.

`env -i setsid program &` has neither its group, nor its session, nor its marker. On Linux such a
process comes back to the worker when its parent ends, since the worker has made itself the reaper
of all that descends from it.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import psutil
import structlog

# <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36

_log = structlog.get_logger()


class Orphans:
    """The orphans of this process's attempts.

    Whose an orphan is cannot be told, so that those of several attempts at a time are ended with
    the last of them.
    """

    def __init__(self) -> None:
        self._adopting = False
        self._attempts = 0

    def adopt(self) -> None:
        """Become the parent of orphaned descendants, for good.

        Only for a process that starts nothing but agents: every other child counts as an orphan.
        Does nothing on systems other than Linux.
        """
        if not sys.platform.startswith("linux"):
            return
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            _log.warning("orphans go to init", error=os.strerror(ctypes.get_errno()))
            return
        self._adopting = True

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Count an attempt, from before its first process until after its last."""
        self._attempts += 1
        try:
            yield
        finally:
            self._attempts -= 1

    def living(self, leader: int) -> list[psutil.Process]:
        """Return the living descendants of this process; none while other attempts run.

        Args:
            leader: The agent's own process, for which somebody waits. Others that have ended are
                reaped.
        """
        if not self._adopting or self._attempts > 1:
            return []
        found = psutil.Process().children(recursive=True)
        return [one for one in found if not _has_ended(one, reap=one.pid != leader)]


def _has_ended(process: psutil.Process, *, reap: bool) -> bool:
    try:
        if reap:
            # A grandchild is its parent's to reap.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
