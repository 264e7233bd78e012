"""When leases expire: kept in memory, by the monotonic clock.

A lease is not written when it is renewed. After a start every live attempt has one full lease time,
since its holder could not renew while the service was away.
"""

from collections.abc import Iterable


class LeaseClock:
    """The deadlines of live attempts, by fencing token."""

    def __init__(self, lease_ns: int) -> None:
        self._lease_ns = lease_ns
        self._deadlines: dict[int, int] = {}

    def renew(self, token: int, now_ns: int) -> None:
        """Give an attempt one full lease time from `now_ns` on."""
        self._deadlines[token] = now_ns + self._lease_ns

    def due(self, live: Iterable[int], now_ns: int) -> list[int]:
        """Return the live attempts whose lease has expired.

        Attempts that are met for the first time get a full lease time; those that do not live any
        more are forgotten.
        """
        kept = {token: self._deadlines.get(token, now_ns + self._lease_ns) for token in live}
        self._deadlines = kept
        return [token for token, deadline_ns in kept.items() if deadline_ns <= now_ns]
