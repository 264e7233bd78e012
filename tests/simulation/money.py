"""What must hold of money while a simulation runs: entries, balances, caps and reservations."""

from collections import Counter

from coord.v1 import ledger_pb2

from tests.simulation.world import PROJECT, World

_PROJECT = (int(ledger_pb2.SCOPE_KIND_PROJECT), PROJECT)


class Money:
    """Entries, balances and caps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._posted: Counter[tuple[int, str]] = Counter()
        self._entries: dict[str, None] = {}
        self._told: dict[tuple[object, ...], None] = {}
        self._spent: Counter[str] = Counter()

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

    def check(self) -> None:
        """Compare entries with balances, and balances with caps."""
        ledger = self._world.disk("ledger")
        rows = ledger.execute("SELECT kind, id, posted, pending FROM scopes").fetchall()
        pending = {(kind, name): held for kind, name, _, held in rows}
        for kind, name, posted, _ in rows:
            assert posted == self._posted[kind, name], f"entries of {name} are its balance"
        query = "SELECT sum(held), sum(max(0, drawn - amount)) FROM reservations"
        held, over = (one or 0 for one in ledger.execute(query).fetchone())
        assert pending.get(_PROJECT, 0) == held, f"what is held of {held} is pending"
        over += self._spent[""]
        for kind, name, most, posted in ledger.execute(
            "SELECT kind, id, most, posted FROM budgets"
        ):
            held = posted + pending[kind, name]
            assert held <= most + over, f"the cap {most} of {name} is passed: {held}"

    def _post(self, entry: ledger_pb2.LedgerEntry) -> None:
        assert entry.entry_id not in self._entries, f"posted twice: {entry.entry_id}"
        self._entries[entry.entry_id] = None
        self._spent[entry.reservation_id] += entry.amount.nanos
        for scope in entry.scopes:
            self._posted[scope.kind, scope.id] += entry.amount.nanos
