"""Faults to put in on purpose, each a piece of one module's source and what to put in its place."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """A mistake that somebody might make.

    Attributes:
        name: Short, for the command line.
        what: For the table.
        module: Where.
        old: What is right there.
        new: What is put in its place.
    """

    name: str
    what: str
    module: str
    old: str
    new: str

    def source(self) -> str:
        """Return the module's source with the fault in it.

        Raises:
            ValueError: what is right is not there, or more than once.
        """
        spec = importlib.util.find_spec(self.module)
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} is {text.count(self.old)} times there")
        return text.replace(self.old, self.new)


FAULTS = (
    Fault(
        "stale-report",
        "the queue takes reports with any fencing token",
        "coord_queue.reports",
        "elif head.token == token and head.state in rule.states and worker in",
        "elif head.state in rule.states and worker in",
    ),
    Fault(
        "others-report",
        "the queue takes reports of a worker on another's attempt",
        "coord_queue.reports",
        'head.state in rule.states and worker in ("", head.worker):',
        "head.state in rule.states:",
    ),
    Fault(
        "token-again",
        "after a restart the queue gives fencing tokens that were given before",
        "coord_queue.tokens",
        'transaction.sql.execute("UPDATE tokens SET newest = ?", (written,))',
        "pass",
    ),
    Fault(
        "no-expiry",
        "leases of lost workers never expire",
        "coord_queue.lease_clock",
        "if min(held.expires_ns, held.limit_ns) <= now_ns",
        "if held.limit_ns <= now_ns",
    ),
    Fault(
        "no-lease-after-start",
        "the queue forgets the leases of before its restart",
        "coord_queue.lease_clock",
        "for one in live:\n            begun_ns",
        "for one in ():\n            begun_ns",
    ),
    Fault(
        "lost-dependent",
        "a task that is done does not free its dependents",
        "coord_queue.transitions",
        "self._count_down([head.number for head, _ in done])",
        "pass",
    ),
    Fault(
        "no-abort",
        "dependents of a cancelled task wait for it for ever",
        "coord_queue.transitions",
        "self._end([Ending(head, state, reason, message, attempts_used=used, workers_lost=lost)])\n"
        "        self.abort_dependents(head)",
        "self._end([Ending(head, state, reason, message, attempts_used=used, workers_lost=lost)])",
    ),
    Fault(
        "silent-abort",
        "tasks are aborted without an event",
        "coord_queue.transitions",
        "self._tell(doomed, aborted, reason, [message] * len(doomed))",
        "pass",
    ),
    Fault(
        "early-answer",
        "the queue answers before the commit",
        "coord_runtime.database",
        "            self._commits.put(group)\n\n    def _take",
        "            for item in group.items if 'queue' in self._thread.name else ():\n"
        "                if not item.future.done() and item.error is None:\n"
        "                    item.future.set_result(item.result)\n"
        "            self._commits.put(group)\n\n    def _take",
    ),
    Fault(
        "no-wake",
        "operations that come while a commit is under way are not begun after it",
        "coord_runtime.database",
        "if self._waiting:\n            self._loop.call_soon(self._run_group)\n        else:",
        "if not self._waiting:",
    ),
    Fault(
        "cap-skipped",
        "the ledger does not look at the cap of the project",
        "coord_ledger.account",
        "return min(cap.most - cap.posted for cap in self.caps.values()) - self.pending",
        "return (NANOS_MAX if self.key[0] == 2 else 0) - self.pending + min("
        "0 if self.key[0] == 2 else cap.most - cap.posted for cap in self.caps.values())",
    ),
    Fault(
        "settled-twice",
        "a settlement that is repeated is posted again",
        "coord_ledger.books",
        'if held.state == "SETTLED" and held.actual == actual.nanos:\n            return result',
        'if held.state == "SETTLED":\n'
        "            self._post_rest(alike, actual.nanos, settlement.usage)\n"
        "            return result",
    ),
    Fault(
        "pending-kept",
        "what a reservation held stays pending once it has ended",
        "coord_ledger.books",
        "account.pending -= unused",
        "pass",
    ),
    Fault(
        "balance-off",
        "an entry is posted, but not to the balance",
        "coord_ledger.account",
        "self.posted += nanos\n        for cap",
        "for cap",
    ),
    Fault(
        "warned-twice",
        "that a cap is reached is told with each cost",
        "coord_ledger.account",
        "cap.exceeded = True",
        "pass",
    ),
    Fault(
        "full-after-crash",
        "after a crash the limiter's buckets are full",
        "coord_limiter.ahead",
        "level = min(full, record.level + rate * valid_ns) - record.ahead",
        "level = full",
    ),
    Fault(
        "clock-refill",
        "while it is down, a bucket fills by the wall clock alone",
        "coord_limiter.ahead",
        "return min(wall_ns, monotonic_ns) if monotonic_ns >= 0 else wall_ns",
        "return wall_ns",
    ),
    Fault(
        "free-tokens",
        "a grant is charged to the requests of a bucket only",
        "coord_limiter.meter",
        "self._sum -= len(serials) * grains\n        self._serials",
        "self._sum -= len(serials) * GRAINS if units == 1 else 0\n        self._serials",
    ),
    Fault(
        "twice-given-back",
        "what a settled call did not use is given back to its bucket twice",
        "coord_limiter.grants",
        "gauge.meter.close(self.serial, self.excess(gauge, actual))",
        "gauge.meter.close(self.serial, 2 * self.excess(gauge, actual))",
    ),
    Fault(
        "claims-meet",
        "a claim does not wait for those that it meets",
        "coord_coordinator.claim_line",
        "self._insert(entry, blockers)\n        for passed in meeting:",
        "blockers = []\n        self._insert(entry, blockers)\n        for passed in meeting:",
    ),
    Fault(
        "claim-kept",
        "the claims of an attempt that has ended stay",
        "coord_coordinator.claims",
        "await self._end_all(of_attempt, pb.CLAIM_STATE_RELEASED)",
        "pass",
    ),
    Fault(
        "lease-kept",
        "claims whose lease is over stay",
        "coord_coordinator.claims",
        "return bool(entry.lease_ns) and entry.expires_ns <= self._now_ns()",
        "return False",
    ),
    Fault(
        "claim-token-again",
        "after a restart the coordinator gives claims' tokens that were given before",
        "coord_coordinator.claims",
        "self._line = ClaimLine(last_token)",
        "self._line = ClaimLine()",
    ),
    Fault(
        "mail-dropped",
        "messages that are not delivered are dropped at a restart",
        "coord_coordinator.mail",
        "for letter in self._store.letters():",
        "for letter in ():",
    ),
    Fault(
        "early-acknowledgement",
        "the coordinator acknowledges what a worker says when it comes",
        "coord_coordinator.streams",
        "await asyncio.gather(*(self._handle(self._worker, one) for one in requests))\n"
        "            last = requests[-1]\n"
        '            has_time = last.WhichOneof("message") in _STEPS\n'
        "            self._worker.session.note_handled(last.sequence, has_time=has_time)",
        "self._worker.session.note_handled(requests[-1].sequence)\n"
        "            await asyncio.gather(*(self._handle(self._worker, one) for one in requests))",
    ),
    Fault(
        "not-told-again",
        "the coordinator does not say again what a worker has not acknowledged",
        "coord_coordinator.streams",
        "session, sent = worker.session, 0",
        "session, sent = worker.session, worker.session._stored",
    ),
    Fault(
        "polled-is-heard",
        "what a worker that polls is told counts as heard before it is",
        "coord_coordinator.streams",
        "return [welcome, *session.after(0)]",
        "told = list(session.after(0))\n"
        "        for one in told:\n"
        "            self._acknowledge(worker, one.sequence)\n"
        "        return [welcome, *told]",
    ),
    Fault(
        "not-said-again",
        "a worker does not say again what was not acknowledged",
        "coord.outbox",
        "self._written = 0\n        if not resumed:",
        "if not resumed:",
    ),
    Fault(
        "lost-assignment",
        "an attempt that did not reach its worker is not given back",
        "coord_coordinator.adoption",
        "await self._disown(worker, task, attempt)",
        "self._fleet.give(worker, attempt)",
    ),
    Fault(
        "kept-stopped",
        "a project that was resumed is stopped again by a restart",
        "coord_coordinator.halt",
        'await self._set("", "RESUMED")',
        "pass",
    ),
    Fault(
        "untested-tree",
        "a red run counts as a green one",
        "coord_integrator.merge_queue",
        "evidence.ended(trial, passed=run.passed)",
        "evidence.ended(trial, passed=True)",
    ),
    Fault(
        "stale-green",
        "a tree counts as green that was never tested",
        "coord_integrator.verdicts",
        "return self._store.is_green(tree, command, self._checker.environment)",
        'return "," in tree',
    ),
    Fault(
        "lease-unasked",
        "a change lands without asking for its lease",
        "coord_integrator.landing",
        "if await self._end_stale(rows):",
        "if False:",
    ),
    Fault(
        "landing-forgotten",
        "a landing that a crash has cut off is not finished",
        "coord_integrator.landing",
        "for rows in begun.values():\n            await self._finish(rows)",
        "return",
    ),
    Fault(
        "report-dropped",
        "the queue is told once how a change has ended, whether it hears it or not",
        "coord_integrator.leases",
        "            error = await self._queue.report(report)",
        "            await self._store.drop_reports([number])\n"
        "            error = await self._queue.report(report)",
    ),
    Fault(
        "unkept-work",
        "a worktree is reset without keeping what is in it",
        "coord_integrator.attempts",
        "await self._clear(row, tip)\n        branch",
        "branch",
    ),
    Fault(
        "unchecked-worktree",
        "a worker may submit a worktree that serves another attempt",
        "coord_integrator.attempts",
        "or (row.fence, row.fence_task) != named:",
        "or False:",
    ),
    Fault(
        "first-dependency",
        "the first of its dependencies that is done frees a task",
        "coord_queue.transitions",
        "UPDATE tasks SET deps_left = deps_left - ended.deps, ready_ns",
        "UPDATE tasks SET deps_left = 0, ready_ns",
    ),
    Fault(
        "cancel-ignored",
        "a task at work that is cancelled goes on",
        "coord_queue.reports",
        "        moves.cancel(head, message)\n",
        "        if head.state != pb.TASK_STATE_RUNNING:\n"
        "            moves.cancel(head, message)\n",
    ),
    Fault(
        "lands-cancelled",
        "the change of a cancelled task keeps its lease",
        "coord_queue.reports",
        "return pb.LEASE_DIRECTIVE_CANCEL",
        "return pb.LEASE_DIRECTIVE_CONTINUE",
    ),
    Fault(
        "posted-short",
        "what a call has cost above its reservation is not posted",
        "coord_ledger.books",
        "actual.nanos - held.drawn, settlement.usage)",
        "min(actual.nanos, held.amount) - held.drawn, settlement.usage)",
    ),
    Fault(
        "limiter-early",
        "the limiter answers before the commit",
        "coord_runtime.database",
        "            self._commits.put(group)\n\n    def _take",
        "            for item in group.items if 'limiter' in self._thread.name else ():\n"
        "                if not item.future.done() and item.error is None:\n"
        "                    item.future.set_result(item.result)\n"
        "            self._commits.put(group)\n\n    def _take",
    ),
    Fault(
        "unreserved",
        "an attempt begins though its budget could not be reserved",
        "coord_coordinator.delivery",
        "refusal = await self._money.reserve(attempt, worker.name, lease.previous.fencing_token)",
        "refusal = None",
    ),
    Fault(
        "unclaimed",
        "a task begins without a claim on the paths that it declares",
        "coord_coordinator.delivery",
        "if attempt.spec.paths and not await self._claim_declared(worker, attempt):",
        "if False:",
    ),
    Fault(
        "shared-beside",
        "a shared claim keeps nobody waiting who wants to be alone",
        "coord_coordinator.resources",
        "if one.shared and other.shared:",
        "if one.shared or other.shared:",
    ),
    Fault(
        "all-empty",
        "each change is taken for empty: its task is done, and nothing lands",
        "coord_integrator.submissions",
        "if await self._repository.changes_nothing(row.change.head_commit, tip):",
        "if True:",
    ),
    Fault(
        "conflict-empty",
        "a change that conflicts is taken for empty",
        "coord_integrator.merge_queue",
        "elif left.merge.conflicts:",
        "elif False:",
    ),
)
