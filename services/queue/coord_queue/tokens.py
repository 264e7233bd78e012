"""Fencing tokens: each larger than any before it, also across restarts."""

from coord_runtime.database import Transaction

_AHEAD = 1_000


class Tokens:
    """Hands out fencing tokens. How far it may go is written ahead, a thousand at a time.

    Args:
        newest: No token above it was handed out before.
    """

    def __init__(self, newest: int) -> None:
        self._newest = newest
        self._written = newest

    def take(self, transaction: Transaction, number: int) -> int:
        """Return the first of some new tokens. Those of an operation that fails are not used."""
        first = self._newest + 1
        self._newest += number
        if self._newest > self._written:
            written = self._newest + _AHEAD
            transaction.sql.execute("UPDATE tokens SET newest = ?", (written,))
            transaction.committed.append(lambda: self._note(written))
        return first

    def _note(self, written: int) -> None:
        self._written = written
