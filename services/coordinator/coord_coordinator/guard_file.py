"""What the guard in the worktrees goes by: one small file, always whole; see `coord.guard`."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
from coord.guard import folder_key
from coord.v1 import claims_pb2
from coord_runtime.globs import folders, written_down

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.halt import Halt
from coord_coordinator.resources import resource_text

NAME = "guard.json"
# Attempts that come and go are written down together.
_PAUSE_S = 0.2
# What the disk has refused, or a failed commit has taken back, tells of no change by itself.
_AGAIN_S = 5.0

log = structlog.get_logger(__name__)


def guard_text(standing: Mapping[str, object], claims: Iterable[str]) -> str:
    """Return what the guard's file says, see `coord.guard`.

    Args:
        standing: `stopped`, `newest` and `live`.
        claims: What it says of each claim, by `claim_text`.
    """
    return "".join([_json(standing), "\n", *claims])


def claim_text(claim: claims_pb2.Claim) -> str:
    """Return what the guard's file says of a claim: a line for each of its globs."""
    return "".join(_line(claim, one) for one in claim.resources if one.path)


def _line(claim: claims_pb2.Claim, resource: claims_pb2.Resource) -> str:
    who = (claim.holder, claim.attempt.fencing_token, claim.claim_id)
    what = (written_down(resource.path), resource_text(resource))
    return f"{folder_key(folders(resource.path))}\t{_json(who + what)}\n"


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
        # A claim that is held does not change: of many, only the new ones have to be put in words.
        self._texts: dict[str, str] = {}

    def write(self) -> None:
        """Replace the file, if it would say something new."""
        held, known = self._claims.held(), self._texts
        self._texts = {one.claim_id: known.get(one.claim_id) or claim_text(one) for one in held}
        text = guard_text(self._standing(), self._texts.values())
        if text == self._written:
            return
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._written = text
        except OSError as error:
            log.warning("the guard goes by what it was told before", error=str(error))

    async def run(self) -> None:
        """Follow the attempts, until cancelled; for when those of before a restart are known."""
        self._knows_attempts = True
        while True:
            seen = self._fleet.changed.seen()
            self.write()
            await asyncio.sleep(_PAUSE_S)
            await self._fleet.changed.wait(seen, _AGAIN_S)

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
