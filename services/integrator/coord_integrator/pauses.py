"""Why nothing lands for now, and when to look again."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from coord.environment import Environment
from coord.times import SECOND, timestamp
from coord.v1 import common_pb2
from coord_runtime.checks import MESSAGE_BYTES_MAX

from coord_integrator.git import GitError
from coord_integrator.merging import clip
from coord_integrator.store import IntegratorStore
from coord_integrator.target import Standing

_HELD = "PAUSED"
# What a reason's metadata call the commit of the target that is to blame.
_COMMIT = "commit"
# Who holds it: kept apart, so that nobody ends what another has begun.
OPERATOR, STOP = "operator", "stop"
_GIT_FAILED, _STEP_FAILED = "GIT_FAILED", "STEP_FAILED"
_RECHECK_S_MIN, _RECHECK_S_MAX = 5, 600
_FAILURE_BYTES_MAX = 2_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Blockage:
    """Why nothing lands, for as long as the target stands where it does.

    Attributes:
        standing: Where the target stood.
        until_ns: When to look again all the same, on the monotonic clock.
        wait_s: How long that was from the last look.
    """

    standing: Standing
    until_ns: int
    wait_s: int


class Pauses:
    """Stops the merge queue, and lets it go on."""

    def __init__(self, store: IntegratorStore, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._blockage: Blockage | None = None
        # Of steps that have failed one after the other: the first one's time.
        self._failing_since_ns: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether nothing lands because somebody wants it so."""
        return self._code() == _HELD

    @property
    def is_red(self) -> bool:
        """Whether nothing lands because the target is red."""
        return self._code() == "TARGET_RED"

    def reason(self, standing: Standing | None) -> common_pb2.Reason | None:
        """Return why nothing lands; None also where that was said of what the target was before."""
        paused = self._store.paused()
        if paused is None or standing is None:
            return paused
        return paused if paused.metadata.get(_COMMIT, standing.judged) == standing.judged else None

    async def hold(self, by: str, message: str) -> None:
        """Let nothing land until `let_go` by the same: OPERATOR or STOP."""
        if self._holds().get(by) == message:
            return
        self._blockage = None
        await self._store.pause(_held_by(self._holds() | {by: message}))
        log.info("merging is paused", by=by, why=message)

    async def let_go(self, by: str) -> None:
        """End a `hold`; while there is another, nothing lands.

        An operator also ends a pause that nobody has asked for.
        """
        holds = self._holds()
        if holds.pop(by, None) is None and by == STOP:
            return
        if holds:
            await self._store.pause(_held_by(holds))
        elif self.is_held:
            await self.end()

    def is_blocked(self, standing: Standing) -> bool:
        """Tell whether the target stands where nothing could land, and it is too early to look."""
        blockage = self._blockage
        if blockage is None or blockage.standing != standing:
            return False
        return self._environment.monotonic_ns() < blockage.until_ns

    async def begin(self, code: str, message: str, commit: str = "") -> None:
        """Record why nothing lands for now, where it is not held anyway.

        Args:
            code: The reason's code.
            message: For people.
            commit: The commit of the target that is to blame, where one is.
        """
        if self.is_held:
            return
        message = clip(message, MESSAGE_BYTES_MAX)
        about = {_COMMIT: commit} if commit else {}
        reason = common_pb2.Reason(code=code, message=message, metadata=about)
        if await self._store.pause(reason):
            log.warning("merging is paused", code=code, why=message)

    async def block(self, standing: Standing, code: str, message: str) -> None:
        """Pause until the target moves, and look again after growing waits."""
        last = self._blockage
        grown = last.wait_s * 2 if last and last.standing == standing else _RECHECK_S_MIN
        wait_s = min(grown, _RECHECK_S_MAX)
        until_ns = self._environment.monotonic_ns() + wait_s * SECOND
        self._blockage = Blockage(standing, until_ns, wait_s)
        await self.begin(code, f"{message} (commit {standing.judged[:10]})", standing.judged)

    async def failed(self, error: Exception) -> None:
        """Record that a step has failed, if the one before it has, too: most mend themselves."""
        if self._failing_since_ns is None:
            self._failing_since_ns = self._environment.now_ns()
            return
        self._blockage = None
        code = _GIT_FAILED if isinstance(error, GitError) else _STEP_FAILED
        await self.begin(code, _failure(error, self._failing_since_ns))

    async def passed(self) -> None:
        """End what `failed` has begun: a step has not failed."""
        self._failing_since_ns = None
        if self._has_failed:
            await self._end()

    async def end(self) -> None:
        """Let the merge queue go on, but for a failure: that ends with a step which passes."""
        self._blockage = None
        if not self._has_failed:
            await self._end()

    async def _end(self) -> None:
        if await self._store.pause(None):
            log.info("merging goes on")

    @property
    def _has_failed(self) -> bool:
        return self._code() in {_GIT_FAILED, _STEP_FAILED}

    def _holds(self) -> dict[str, str]:
        """Return why nothing lands, by who wants it so."""
        paused = self._store.paused()
        return {} if paused is None or paused.code != _HELD else dict(paused.metadata)

    def _code(self) -> str:
        paused = self._store.paused()
        return "" if paused is None else paused.code


def _failure(error: Exception, since_ns: int) -> str:
    since = timestamp(since_ns // SECOND * SECOND).ToJsonString()
    return (
        f"since {since} a step of the merge queue fails, and is tried again and again:"
        f" {type(error).__name__}: {clip(str(error), _FAILURE_BYTES_MAX)}; the log of the services"
        " has more, and `coord task cancel` takes out the change that is to blame"
    )


def _held_by(holds: Mapping[str, str]) -> common_pb2.Reason:
    message = "; ".join(holds[by] for by in sorted(holds))
    return common_pb2.Reason(
        code=_HELD, message=clip(message, MESSAGE_BYTES_MAX), metadata=dict(holds)
    )
