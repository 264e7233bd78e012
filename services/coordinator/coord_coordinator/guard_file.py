"""What the guard in the worktrees goes by: one small file, always whole; see `coord.guard`."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import structlog
from coord.guard import folder_key
from coord_runtime.globs import folders, written_down

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.halt import Halt
from coord_coordinator.resources import resource_text

NAME = "guard.json"
# Attempts that come and go are written down together.
_PAUSE_S = 0.2

# Holder, fencing token or 0, claim id, glob, and the glob as people write it.
_Claimed = tuple[str, int, str, str, str]

log = structlog.get_logger(__name__)


def guard_text(standing: Mapping[str, object], claims: Iterable[_Claimed]) -> str:
    """Return what the guard's file says, see `coord.guard`.

    Args:
        standing: `stopped`, `newest` and `live`.
        claims: Holder, fencing token or 0, claim id, glob, and what people call that, for each.
    """
    lines = [_json(standing), *(_line(*claim) for claim in claims)]
    return "".join(f"{line}\n" for line in lines)


@lru_cache(maxsize=16_384)
def _line(holder: str, token: int, claim_id: str, glob: str, text: str) -> str:
    claim = (holder, token, claim_id, written_down(glob), text)
    return f"{folder_key(folders(glob))}\t{_json(claim)}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


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
        text = guard_text(self._standing(), self._claimed())
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

    def _standing(self) -> dict[str, object]:
        workers = self._fleet.workers.values()
        reason = self._halt.reason
        return {
            "stopped": "" if reason is None else reason.message,
            "newest": self._fleet.newest_token if self._knows_attempts else 0,
            "live": [token for worker in workers for token in worker.attempts],
        }

    def _claimed(self) -> Iterator[_Claimed]:
        for claim in self._claims.held():
            for resource in claim.resources:
                if resource.path:
                    token, text = claim.attempt.fencing_token, resource_text(resource)
                    yield claim.holder, token, claim.claim_id, resource.path, text
