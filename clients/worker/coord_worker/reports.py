"""What a worker says about an attempt while it runs, and at its end."""

from collections.abc import Callable

import structlog
from coord.environment import Environment
from coord.session import Report
from coord.texts import MESSAGE_BYTES_MAX, cut
from coord.times import timestamp
from coord.v1 import common_pb2, coordinator_pb2

from coord_worker.money import CURRENCY, Expense, parse_expense

_ID_CHARS_MAX = 128
# Of lines that are no costs, so much of so many is told.
_LINE_MAX, _UNREAD_MAX = 200, 10

_log = structlog.get_logger()


def entry_id(attempt: common_pb2.AttemptRef, number: int) -> str:
    """Return the ledger's id for an attempt's expense; the token alone makes it unique."""
    end = f"/{attempt.fencing_token}/{number}"
    return attempt.task_id[: _ID_CHARS_MAX - len(end)] + end


class Expenses:
    """Reports what an attempt spends, each expense under a number of its own.

    Attributes:
        nanos: What was spent so far, in billionths of a dollar.
        unread: The first of the lines that are no costs.
    """

    def __init__(self, attempt: common_pb2.AttemptRef, send: Callable[[Report], object]) -> None:
        self._attempt = attempt
        self._send = send
        self._count = 0
        self.nanos = 0
        self.unread: list[str] = []

    def add_line(self, line: str) -> None:
        """Report a line of the cost file; a line that cannot be read still has a number."""
        self._count += 1
        expense = parse_expense(line)
        if expense is None:
            _log.warning("not a cost", task=self._attempt.task_id, line=line[:_LINE_MAX])
            if len(self.unread) < _UNREAD_MAX:
                self.unread.append(line[:_LINE_MAX])
            return
        self._report(expense)

    def add(self, expense: Expense) -> None:
        """Report an expense."""
        self._count += 1
        self._report(expense)

    def _report(self, expense: Expense) -> None:
        spent = coordinator_pb2.Spent(
            attempt=self._attempt,
            entry_id=entry_id(self._attempt, self._count),
            usage=expense.usage,
        )
        if expense.nanos is not None:
            self.nanos += expense.nanos
            spent.amount.CopyFrom(common_pb2.Money(currency=CURRENCY, nanos=expense.nanos))
        self._send(spent)


class ProgressNotes:
    """Reports the newest line of the progress file.

    Attributes:
        summary: That line.
    """

    def __init__(
        self,
        attempt: common_pb2.AttemptRef,
        send: Callable[[Report], object],
        environment: Environment,
    ) -> None:
        self._attempt = attempt
        self._send = send
        self._environment = environment
        self._reported = ""
        self.summary = ""

    def add_line(self, line: str) -> None:
        """Note a line; only the newest is of interest."""
        self.summary = cut(line, MESSAGE_BYTES_MAX)

    def report(self) -> None:
        """Say how far the attempt is, if that is new."""
        if self.summary == self._reported:
            return
        self._reported = self.summary
        progress = common_pb2.Progress(
            summary=self.summary, reported_at=timestamp(self._environment.now_ns())
        )
        self._send(coordinator_pb2.ProgressReport(attempt=self._attempt, progress=progress))
