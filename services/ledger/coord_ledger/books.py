"""What the ledger decides, on the part of its books that an operation needs.

The store loads that part, the methods here change it item by item, and the store writes back what
has changed, all in one transaction.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from coord.times import SECOND, duration_ns, set_timestamp
from coord.v1 import common_pb2, ledger_pb2

from coord_ledger import refusals
from coord_ledger.account import Account, Held, Key, keys, scope
from coord_ledger.caps import Cap
from coord_ledger.postings import Posting, posting
from coord_ledger.requests import Content, ReservationAsk, SettlementAsk, as_asked

Request = ledger_pb2.ReservationRequest
TTL_DEFAULT_NS = 24 * 3600 * SECOND


@dataclass
class Books:
    """A part of one project's books.

    Attributes:
        now_ns: The wall clock.
        new_id: Makes the ids of entries that have no other.
        accounts: By scope; one that is missing was never used.
        reservations: By id.
        entries: By id.
        posted: The entries that were added.
        events: What has to be told, in order.
        removed: The caps that were taken away.
        corrections: By how much settlements were above what was reserved, in nanos by currency.
    """

    now_ns: int
    new_id: Callable[[], str]
    accounts: dict[Key, Account] = field(default_factory=dict)
    reservations: dict[str, Held] = field(default_factory=dict)
    entries: dict[str, ledger_pb2.LedgerEntry] = field(default_factory=dict)
    posted: list[Posting] = field(default_factory=list)
    events: list[ledger_pb2.LedgerEvent | Posting] = field(default_factory=list)
    corrections: Counter[str] = field(default_factory=Counter)
    removed: list[tuple[Key, ledger_pb2.BudgetWindow]] = field(default_factory=list)
    changed_accounts: dict[Key, Account] = field(default_factory=dict)
    changed_reservations: dict[str, Held] = field(default_factory=dict)

    def account(self, key: Key) -> Account:
        """Return a scope's account."""
        found = self.accounts.get(key)
        if found is None:
            found = self.accounts[key] = Account(key)
        return found

    def reserve(self, asks: Iterable[ReservationAsk]) -> list[ledger_pb2.ReservationResult]:
        """Reserve money in all scopes of each request, or in none; return results without ids."""
        results: list[ledger_pb2.ReservationResult] = []
        for content, run in groupby(asks, attrgetter("content")):
            ids = [ask.reservation_id for ask in run]
            if not content.message.within and self._new(ids):
                results += self._reserve_new(ids, content)
            else:
                results += [self._reserve(one, content) for one in ids]
        return results

    def record(self, cost: ledger_pb2.Cost) -> ledger_pb2.RecordCostsResult:
        """Post a cost, out of its reservation where it names one."""
        held = self.reservations.get(cost.reservation_id)
        if cost.reservation_id and held is None:
            return refusals.not_posted(cost.entry_id, "RESERVATION_NOT_FOUND")
        spent, ids = held.keys if held else keys(cost.scopes), (cost.entry_id, cost.reservation_id)
        new = posting([ids], spent, cost.amount, cost.usage, self.now_ns)
        stored = self.entries.get(cost.entry_id)
        if stored is None:
            reason = self._post(new, [held] if held else [])
        else:
            reason = None if _same(stored, new.entry) else "ENTRY_EXISTS"
        if reason:
            return refusals.not_posted(cost.entry_id, reason)
        self.entries.setdefault(cost.entry_id, new.entry)
        return ledger_pb2.RecordCostsResult(
            entry_id=cost.entry_id, exceeded=self._exceeded(spent, held)
        )

    def settle(self, asks: Iterable[SettlementAsk]) -> list[ledger_pb2.ReservationReportResult]:
        """End reservations with the totals that were spent; return results without ids."""
        results: list[ledger_pb2.ReservationReportResult] = []
        for content, run in groupby(asks, attrgetter("content")):
            for alike in self._alike([ask.reservation_id for ask in run], content.message.actual):
                results += [self._settle(alike, content.message)] * max(1, len(alike))
        return results

    def extend(self, reservation_id: str, expires_ns: int) -> ledger_pb2.ReservationReportResult:
        """Let a reservation live at least until a time."""
        held = self.reservations.get(reservation_id)
        if held is None:
            return refusals.not_ended("RESERVATION_NOT_FOUND")
        if not held.live:
            return refusals.not_ended("RESERVATION_ENDED")
        held.expires_ns = max(held.expires_ns, expires_ns)
        self.changed_reservations[reservation_id] = held
        return ledger_pb2.ReservationReportResult()

    def release(self, reservation_id: str) -> ledger_pb2.ReservationReportResult:
        """Give back what a reservation still holds, or what was posted of it when it expired."""
        held = self.reservations.get(reservation_id)
        if held is None:
            return refusals.not_ended("RESERVATION_NOT_FOUND")
        if held.state == "EXPIRED" and held.actual is not None:
            reason = self._post_rest([held], -held.actual, common_pb2.Usage())
            if reason:
                return refusals.not_ended(reason)
        elif held.state not in ("HELD", "RELEASED"):
            return refusals.not_ended("RESERVATION_ENDED")
        self._end([held], "RELEASED")
        return ledger_pb2.ReservationReportResult()

    def expire(self, *, post: bool) -> None:
        """End all reservations that are due: their outcome is unknown.

        Args:
            post: Take what they still hold as spent, but where it is told as it is; otherwise give
                it back.
        """
        due = [one for one in self.reservations.values() if one.expires_ns <= self.now_ns]
        for held in (one for one in due if one.live):
            asked = ledger_pb2.ReservationRequest.FromString(held.asked)
            held.actual = held.held if post and not asked.release_on_expiry else 0
            # Within what was pending, so that it always fits.
            self._post_rest([held], held.actual, common_pb2.Usage())
            self._end([held], "EXPIRED")

    def set_budget(self, account: Account, currency: str, cap: Cap) -> None:
        """Cap a scope.

        Args:
            account: The scope; it takes the currency.
            currency: The cap's.
            cap: The cap, with what was posted in its window.
        """
        account.currency = currency
        present = account.caps.setdefault(cap.window, cap)
        if present is cap or present.change(cap.most, cap.thresholds):
            self.changed_accounts[account.key] = account
            budget_set = ledger_pb2.BudgetSet(balance=account.balance())
            self.events.append(ledger_pb2.LedgerEvent(budget_set=budget_set))
            self.events += account.crossings()

    def remove_budget(self, account: Account, window: ledger_pb2.BudgetWindow) -> None:
        """Take a scope's cap for a window away, if it has one."""
        if account.caps.pop(window, None) is not None:
            self.changed_accounts[account.key] = account
            self.removed.append((account.key, window))
            budget_set = ledger_pb2.BudgetSet(balance=account.balance())
            self.events.append(ledger_pb2.LedgerEvent(budget_set=budget_set))

    def _new(self, ids: Collection[str]) -> bool:
        return self.reservations.keys().isdisjoint(ids) and len(set(ids)) == len(ids)

    def _reserve(self, name: str, content: Content[Request]) -> ledger_pb2.ReservationResult:
        """Reserve money for one request, which may have been asked before."""
        held = self.reservations.get(name)
        if held is not None:
            return _again(held, content.message)
        if content.message.within:
            return self._reserve_within(name, content.message)
        return self._reserve_new([name], content)[0]

    def _reserve_new(
        self, ids: Sequence[str], content: Content[Request]
    ) -> list[ledger_pb2.ReservationResult]:
        """Reserve money for requests that are alike and new, for each as if it came alone."""
        request, scopes = content.message, content.scopes
        accounts, asked = [self.account(key) for key in scopes], request.amount
        if not _take(accounts, asked.currency):
            return [refusals.not_reserved("CURRENCY_DIFFERS")] * len(ids)
        results: list[ledger_pb2.ReservationResult] = []
        while len(results) < len(ids):
            lefts = [account.left for account in accounts]
            left = min(lefts)
            amount = min(asked.nanos, left)
            rest = ids[len(results) :]
            if amount < _least(request):
                refusal = _no_room(request, accounts[lefts.index(left)])
                return results + [refusal] * len(rest)
            fitting = rest[: left // amount] if amount else rest
            for account in accounts:
                account.currency = asked.currency
                account.pending += amount * len(fitting)
                self.changed_accounts[account.key] = account
            results += [self._hold(fitting, request, scopes, amount)] * len(fitting)
        return results

    def _reserve_within(self, name: str, request: Request) -> ledger_pb2.ReservationResult:
        """Reserve money out of another reservation: no scope is promised any more by it."""
        outer = self.reservations.get(request.within)
        if outer is None or outer.within:
            return refusals.not_reserved("WITHIN_NOT_FOUND")
        if not outer.live:
            return refusals.not_reserved("WITHIN_ENDED")
        if outer.currency != request.amount.currency:
            return refusals.not_reserved("CURRENCY_DIFFERS")
        amount = min(request.amount.nanos, outer.held)
        if amount < _least(request):
            return refusals.within_spent(request, outer)
        outer.held -= amount
        self.changed_reservations[outer.reservation_id] = outer
        scoped = Request()
        scoped.CopyFrom(request)
        scoped.scopes.extend(map(scope, outer.keys))
        return self._hold([name], scoped, outer.keys, amount)

    def _hold(
        self, ids: Iterable[str], request: Request, scopes: tuple[Key, ...], amount: int
    ) -> ledger_pb2.ReservationResult:
        ttl_ns = duration_ns(request.ttl) if request.HasField("ttl") else TTL_DEFAULT_NS
        expires_ns = self.now_ns + ttl_ns
        # Plain values: a message that is kept would keep the whole batch that it came in.
        asked, currency = request.SerializeToString(), request.amount.currency
        outer = request.within
        for name in ids:
            held = Held(name, asked, scopes, currency, outer, amount, amount, 0, expires_ns)
            self.reservations[name] = self.changed_reservations[name] = held
        return _reserved(held)

    def _alike(self, ids: Sequence[str], actual: common_pb2.Money) -> Iterator[list[Held]]:
        """Yield reservations that can be settled in one go, in order; none for an unknown one."""
        found = [self.reservations.get(name) for name in ids]
        if len(set(ids)) < len(ids) or any(one.within for one in found if one):
            # One settlement may touch what another is about: each is looked at in its turn.
            yield from ([held] if held else [] for held in found)
            return
        for _, run in groupby(found, _likeness):
            alike = [held for held in run if held is not None]
            total = actual.nanos * len(alike)
            if len(alike) > 1 and not all(self.account(key).rests(total) for key in alike[0].keys):
                yield from ([held] for held in alike)
            else:
                yield alike

    def _settle(
        self, alike: Sequence[Held], settlement: ledger_pb2.Settlement
    ) -> ledger_pb2.ReservationReportResult:
        """End one reservation, or several that are alike and untouched."""
        if not alike:
            return refusals.not_ended("RESERVATION_NOT_FOUND")
        held, actual = alike[0], settlement.actual
        if held.currency != actual.currency:
            return refusals.not_ended("CURRENCY_DIFFERS")
        result = ledger_pb2.ReservationReportResult(actual=actual)
        if held.state == "SETTLED" and held.actual == actual.nanos:
            return result
        if held.state not in ("HELD", "EXPIRED"):
            return refusals.not_ended("RESERVATION_ENDED")
        reason = self._post_rest(alike, actual.nanos - held.drawn, settlement.usage)
        if reason:
            return refusals.not_ended(reason)
        self._end(alike, "SETTLED")
        for held in alike:
            held.actual = actual.nanos
        self.corrections[held.currency] += (actual.nanos - held.amount) * len(alike)
        return result

    def _post(self, new: Posting, alike: Sequence[Held]) -> str | None:
        """Add entries, each out of a reservation if there are any; return the reason why not.

        Several are such that their sum crosses no threshold.
        """
        nanos, currency, count = new.entry.amount.nanos, new.entry.amount.currency, len(new.ids)
        accounts = [self.account(key) for key in new.scopes]
        if not _take(accounts, currency):
            return "CURRENCY_DIFFERS"
        live = [one.held for held in alike[:1] for one in self._holders(held) if one.live]
        drawn = min(sum(live), max(0, nanos)) * count
        if not all(account.fits(nanos * count - drawn) for account in accounts):
            return "AMOUNT_OVERFLOW"
        self._draw(alike, nanos)
        self.events.append(new)
        for account in accounts:
            account.currency = currency
            account.post(nanos * count)
            account.pending -= drawn
            self.changed_accounts[account.key] = account
            if account.caps:
                self.events += account.crossings()
        self.posted.append(new)
        return None

    def _holders(self, held: Held) -> list[Held]:
        """Return the reservation that money is taken from, and the one that it is within."""
        outer = self.reservations.get(held.within)
        return [held] if outer is None else [held, outer]

    def _draw(self, alike: Iterable[Held], nanos: int) -> None:
        """Take what was posted from what each reservation holds, the innermost first."""
        for held in alike:
            left = max(0, nanos)
            for one in self._holders(held):
                taken = min(one.held, left) if one.live else 0
                one.held -= taken
                one.drawn += nanos
                left -= taken
                self.changed_reservations[one.reservation_id] = one

    def _post_rest(self, alike: Sequence[Held], nanos: int, usage: common_pb2.Usage) -> str | None:
        """Post what is missing to the total of each reservation, or too much in it."""
        if not nanos and not usage.ByteSize():
            return None
        amount = common_pb2.Money(currency=alike[0].currency, nanos=nanos)
        ids = [(self.new_id(), held.reservation_id) for held in alike]
        return self._post(posting(ids, alike[0].keys, amount, usage, self.now_ns), alike)

    def _end(self, alike: Sequence[Held], state: str) -> None:
        """End reservations; what they hold goes back to where it was taken from."""
        unused = 0
        for held in alike:
            outer = self.reservations.get(held.within)
            if outer is not None and outer.live:
                outer.held += held.held
                self.changed_reservations[outer.reservation_id] = outer
            else:
                unused += held.held
            held.held, held.state = 0, state
            self.changed_reservations[held.reservation_id] = held
        for key in alike[0].keys if unused else ():
            account = self.changed_accounts[key] = self.account(key)
            account.pending -= unused

    def _exceeded(self, spent: Iterable[Key], held: Held | None) -> list[ledger_pb2.Balance]:
        """Return the scopes on which the spender should stop, the most pressing first.

        Those are the scopes whose posted amount has reached the cap. Where a reservation is named
        and all of it has been spent (it holds nothing, and its entries come to what was reserved
        or more), they are all of its scopes, capped or not: nothing in any of them is promised to
        its holder any longer, and what else is left there may be promised to others.
        """
        accounts = [self.account(key) for key in spent]
        if held is None or not held.overdrawn:
            accounts = [account for account in accounts if account.spent]
        accounts.sort(key=lambda account: (not account.spent, account.left))
        return [account.balance() for account in accounts]


def _take(accounts: Iterable[Account], currency: str) -> bool:
    return {account.currency for account in accounts} <= {"", currency}


def _least(request: Request) -> int:
    """Return the least amount that is of use."""
    least = request.min_amount if request.HasField("min_amount") else request.amount
    return least.nanos


def _no_room(request: Request, tightest: Account) -> ledger_pb2.ReservationResult:
    if not tightest.caps:
        return refusals.not_reserved("AMOUNT_OVERFLOW")
    return refusals.cap_reached(request, tightest)


def _likeness(held: Held | None) -> object:
    """Return what is equal for reservations that are as they were made, and settle alike."""
    if held is None or held.held != held.amount or held.drawn or not held.live:
        return object()
    return held.keys, held.currency, held.amount


def _again(held: Held, request: Request) -> ledger_pb2.ReservationResult:
    if as_asked(Request.FromString(held.asked)) != as_asked(request):
        return refusals.not_reserved("RESERVATION_EXISTS")
    if held.state != "HELD":
        return refusals.not_reserved("RESERVATION_ENDED")
    return _reserved(held)


def _reserved(held: Held) -> ledger_pb2.ReservationResult:
    result = ledger_pb2.ReservationResult()
    reservation = result.reservation
    reservation.amount.currency, reservation.amount.nanos = held.currency, held.amount
    set_timestamp(reservation.expires_at, held.expires_ns)
    return result


def _same(stored: ledger_pb2.LedgerEntry, repeated: ledger_pb2.LedgerEntry) -> bool:
    content = ledger_pb2.LedgerEntry()
    content.CopyFrom(repeated)
    content.posted_at.CopyFrom(stored.posted_at)
    return stored == content
