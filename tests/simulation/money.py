"""What must hold of money while a simulation runs: entries, balances, caps and reservations."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from coord.v1 import common_pb2, ledger_pb2

from tests.simulation.world import PROJECT, World

_TASK = int(ledger_pb2.SCOPE_KIND_TASK)
_PROJECT = (int(ledger_pb2.SCOPE_KIND_PROJECT), PROJECT)
_HELD = """
SELECT kind, id, most, budgets.posted + pending FROM budgets JOIN scopes USING (project, kind, id)
"""


class Money:
    """Entries, balances and caps.

    Attributes:
        posted: The sum of the entries of each scope.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.posted: Counter[tuple[int, str]] = Counter()
        self._entries: dict[str, None] = {}
        self._told: dict[tuple[object, ...], None] = {}
        self._unasked: Counter[tuple[int, str]] = Counter()
        self._reserved: set[str] = set()

    def take(self, event: ledger_pb2.LedgerEvent) -> None:
        match event.WhichOneof("kind"):
            case "cost_posted":
                self._post(event.cost_posted.entry)
            case "budget_warned" | "budget_exceeded" as kind:
                told = getattr(event, kind)
                scope, threshold = told.balance.scope, getattr(told, "threshold", 1.0)
                caps = tuple(one.cap.nanos for one in told.balance.budgets)
                key = (kind, scope.kind, scope.id, told.window, threshold, caps)
                assert key not in self._told, f"told twice: {key}"
                self._told[key] = None

    def reserved(self, request: ledger_pb2.ReserveFundsRequest) -> Iterator[str]:
        """Yield the caps that reservations pass which were just made.

        What was posted since the last look may have passed them after that.
        """
        names = {one.reservation_id for one in request.requests if not one.within}
        if names <= self._reserved or self._world.network.has_just_gone_on("ledger"):
            return
        ledger = self._world.disk("ledger")
        bodies = ledger.execute("SELECT body FROM entries WHERE number > ?", [len(self._entries)])
        news = sum(ledger_pb2.LedgerEntry.FromString(body).amount.nanos for (body,) in bodies)
        asked = {(scope.kind, scope.id) for one in request.requests for scope in one.scopes}
        for kind, name, most, held in ledger.execute(_HELD):
            if (kind, name) in asked and held > most + news:
                yield f"the cap {most} of {name} is passed: {held}"

    def check(self) -> None:
        """Compare entries with balances, and balances with caps."""
        ledger = self._world.disk("ledger")
        names = ledger.execute("SELECT reservation_id FROM reservations")
        self._reserved = {name for (name,) in names}
        rows = ledger.execute("SELECT kind, id, posted, pending FROM scopes").fetchall()
        pending = {(kind, name): held for kind, name, _, held in rows}
        for kind, name, posted, _ in rows:
            assert posted == self.posted[kind, name], f"entries of {name} are its balance"
        query = (
            "SELECT reservation_id, drawn, actual FROM reservations"
            " WHERE drawn != actual AND state = 'SETTLED'"
        )
        for name, drawn, actual in ledger.execute(query):
            raise AssertionError(f"{name} was settled with {actual}, and {drawn} is posted")
        held = ledger.execute("SELECT sum(held) FROM reservations").fetchone()[0] or 0
        assert pending.get(_PROJECT, 0) == held, f"what is held of {held} is pending"
        over = self._unasked.copy()
        query = "SELECT asked, drawn - amount FROM reservations WHERE drawn > amount"
        for asked, more in ledger.execute(query):
            scopes = ledger_pb2.ReservationRequest.FromString(asked).scopes
            over.update(dict.fromkeys(_keys(scopes), more))
        for kind, name, most, posted in ledger.execute(
            "SELECT kind, id, most, posted FROM budgets"
        ):
            held = posted + pending[kind, name]
            assert held <= most + over[kind, name], f"the cap {most} of {name} is passed: {held}"

    def check_end(self, spent: Mapping[str, int], cost: Mapping[str, int]) -> None:
        """Compare with what agents know, when everything is done.

        Args:
            spent: What was acknowledged to them, in nanos by task.
            cost: The most that attempts can have cost, likewise.
        """
        for task_id, nanos in spent.items():
            posted = self.posted[_TASK, task_id]
            assert nanos <= posted, f"{task_id} has told of {nanos}, and {posted} is posted"
        if "integrator" not in self._world.names:
            return
        changes = self._world.disk("integrator").execute("SELECT change_id, cost FROM changes")
        for change_id, body in changes:
            most, nanos = cost.get(change_id, 0), common_pb2.Money.FromString(body).nanos
            assert nanos <= most, f"{change_id} is said to have cost {nanos}, and did {most}"

    def _post(self, entry: ledger_pb2.LedgerEntry) -> None:
        assert entry.entry_id not in self._entries, f"posted twice: {entry.entry_id}"
        self._entries[entry.entry_id] = None
        amounts = dict.fromkeys(_keys(entry.scopes), entry.amount.nanos)
        self.posted.update(amounts)
        if not entry.reservation_id:
            self._unasked.update(amounts)


def _keys(scopes: Iterable[ledger_pb2.Scope]) -> list[tuple[int, str]]:
    return [(int(scope.kind), scope.id) for scope in scopes]
