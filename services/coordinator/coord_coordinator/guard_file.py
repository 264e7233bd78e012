"""What the guard in the worktrees goes by: one small file, always whole; see `coord.guard`."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import structlog
from coord_runtime.globs import written_down

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.halt import Halt
from coord_coordinator.resources import resource_text

NAME = "guard.json"
# Attempts that come and go are written down together.
_PAUSE_S = 0.2

log = structlog.get_logger(__name__)


class GuardFile:
    """Keeps the file true while the coordinator runs. After a kill it stays, as claims do.

    Args:
        path: The file.
        fleet: Whose attempts are live.
        claims: What is held.
        halt: Whether everything is stopped.
    """

    def __init__(self, path: Path, fleet: Fleet, claims: Claims, halt: Halt) -> None:
        self._path = path
        self._fleet = fleet
        self._claims = claims
        self._halt = halt
        self._knows_attempts = False
        self._written = ""

    def write(self) -> None:
        """Replace the file, if it would say something new."""
        text = json.dumps(self._content(), separators=(",", ":"))
        if text == self._written:
            return
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._written = text
        except OSError as error:
            log.warning("the guard could not be told", error=str(error))

    async def run(self) -> None:
        """Follow the attempts, until cancelled; for when those of before a restart are known."""
        self._knows_attempts = True
        while True:
            seen = self._fleet.changed.seen()
            self.write()
            await asyncio.sleep(_PAUSE_S)
            await self._fleet.changed.wait(seen, None)

    def remove(self) -> None:
        """Let everything be edited: nobody is left to say otherwise."""
        self._path.unlink(missing_ok=True)

    def _content(self) -> dict[str, object]:
        workers = self._fleet.workers.values()
        reason = self._halt.reason
        return {
            "stopped": "" if reason is None else reason.message,
            "newest": self._fleet.newest_token if self._knows_attempts else 0,
            "live": [token for worker in workers for token in worker.attempts],
            "claims": list(self._claimed()),
        }

    def _claimed(self) -> Iterator[tuple[object, ...]]:
        for claim in self._claims.held():
            for resource in claim.resources:
                if resource.path:
                    glob, text = written_down(resource.path), resource_text(resource)
                    token = claim.attempt.fencing_token
                    yield claim.holder, token, claim.claim_id, glob, text
