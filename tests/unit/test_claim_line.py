"""The line for claims, against a plain reading of its rules."""

from dataclasses import dataclass, field

from coord.v1 import claims_pb2 as pb
from coord.v1 import common_pb2
from coord_coordinator.claim_line import ClaimLine, Deadlock, Entry
from coord_coordinator.resources import common
from coord_runtime.globs import Comparison
from hypothesis import given, settings
from hypothesis import strategies as st

_PATHS = ("src/**", "src/a.py", "src/lib/*.py", "*.md", "docs/", "src/lib/x.py", "/top.txt")


def entry(claim_id: str, holder: str, *paths: str, shared: bool = False, token: int = 0) -> Entry:
    resources = [pb.Resource(path=path, shared=shared) for path in paths]
    claim = pb.Claim(
        claim_id=claim_id, holder=holder, resources=resources, state=pb.CLAIM_STATE_WAITING
    )
    if token:
        claim.attempt.CopyFrom(common_pb2.AttemptRef(task_id="t", fencing_token=token))
    return Entry(claim)


def ask(line: ClaimLine, one: Entry) -> Deadlock | None:
    return line.ask(one, Comparison())


def held(line: ClaimLine) -> set[str]:
    return {one.claim_id for one in line if one.held}


def test_one_that_meets_an_earlier_one_waits_behind_it() -> None:
    line = ClaimLine()
    ask(line, entry("a", "w1", "src/a.py"))
    ask(line, entry("all", "w2", "src/**"))
    ask(line, entry("b", "w3", "src/b.py"))
    ask(line, entry("docs", "w3", "/docs/"))
    assert held(line) == {"a", "docs"}
    assert [one.claim_id for one in line.remove("a")] == ["all"]
    assert [one.claim_id for one in line.remove("all")] == ["b"]


def test_shared_claims_are_held_together_and_an_exclusive_one_waits_for_all() -> None:
    line = ClaimLine()
    ask(line, entry("one", "w1", "src/", shared=True))
    ask(line, entry("two", "w2", "src/", shared=True))
    ask(line, entry("mine", "w3", "src/a.py"))
    assert held(line) == {"one", "two"}
    assert line.remove("one") == []
    assert [one.claim_id for one in line.remove("two")] == ["mine"]


def test_a_request_that_closes_a_circle_is_refused_and_names_it() -> None:
    line = ClaimLine()
    ask(line, entry("a1", "w1", "/a"))
    ask(line, entry("b2", "w2", "/b"))
    ask(line, entry("c3", "w3", "/c"))
    ask(line, entry("b1", "w1", "/b"))
    ask(line, entry("c2", "w2", "/c"))
    refused = ask(line, entry("a3", "w3", "/a"))
    assert refused == Deadlock(["a1", "b2", "c3"])
    assert line.get("a3") is None


def test_who_was_refused_stays_so_until_a_claim_of_the_circle_has_ended() -> None:
    line = ClaimLine()
    ask(line, entry("a1", "w1", "/a"))
    ask(line, entry("b2", "w2", "/b"))
    ask(line, entry("b1", "w1", "/b"))
    circle = Deadlock(["a1", "b2"])
    assert ask(line, entry("a2", "w2", "/a")) == circle
    line.remove("b1")
    assert ask(line, entry("a2 again", "w2", "/a")) == circle
    assert ask(line, entry("b1 again", "w1", "/b")) is None
    line.remove("b2")
    assert ask(line, entry("a2 at last", "w2", "/a")) is None
    assert held(line) == {"a1", "b1 again"}


def test_a_holder_passes_who_waits_for_it() -> None:
    line = ClaimLine()
    ask(line, entry("x1", "w1", "/x"))
    ask(line, entry("xy2", "w2", "/x", "/y"))
    assert ask(line, entry("y1", "w1", "/y")) is None
    assert held(line) == {"x1", "y1"}
    line.remove("x1")
    assert [one.claim_id for one in line.remove("y1")] == ["xy2"]


def test_two_attempts_of_one_worker_are_two_owners_but_its_own_claims_are_of_both() -> None:
    line = ClaimLine()
    ask(line, entry("first", "w1", "src/**", token=1))
    ask(line, entry("second", "w1", "src/a.py", token=2))
    ask(line, entry("hers", "w1", "src/b.py"))
    assert held(line) == {"first", "hers"}


@dataclass
class Reading:
    """The rules, read plainly: a list, in order."""

    asked: list[pb.Claim] = field(default_factory=list)

    def meets(self, one: pb.Claim, other: pb.Claim) -> bool:
        return one.holder != other.holder and common(one, other, Comparison()) is not None


_asks = st.tuples(
    st.sampled_from(["w1", "w2", "w3", "w4"]),
    st.lists(st.sampled_from(_PATHS), min_size=1, max_size=2, unique=True),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_asks, st.integers(0, 30)), max_size=40))
def test_in_every_history_no_two_held_meet_tokens_grow_and_all_is_granted_in_the_end(
    steps: list[tuple[str, list[str], bool] | int],
) -> None:
    line, reading, last = ClaimLine(), Reading(), 0
    for number, step in enumerate(steps):
        if isinstance(step, int):
            ids = [one.claim_id for one in line]
            if ids:
                line.remove(ids[step % len(ids)])
        else:
            holder, paths, shared = step
            ask(line, entry(str(number), holder, *paths, shared=shared))
        _check(line, reading)
        assert line.last_token >= last
        last = line.last_token
    while any(True for _ in line):
        # Whoever holds something and waits for nothing can go on: there always is one.
        free = [
            one
            for one in line
            if one.held and not any(o.blockers for o in line.of(one.claim.holder))
        ]
        assert free, "everybody waits: a deadlock"
        line.remove(free[0].claim_id)
        _check(line, reading)


def _check(line: ClaimLine, reading: Reading) -> None:
    entries = list(line)
    for one in entries:
        assert one.held == (not one.blockers)
        assert one.held == (one.claim.fencing_token > 0)
        for other in entries:
            if one.held and other.held and one is not other:
                assert not reading.meets(one.claim, other.claim)


@settings(max_examples=200, deadline=None)
@given(st.lists(_asks, max_size=20))
def test_a_restart_finds_the_same_line(asks: list[tuple[str, list[str], bool]]) -> None:
    line = ClaimLine()
    for number, (holder, paths, shared) in enumerate(asks):
        ask(line, entry(str(number), holder, *paths, shared=shared))
    again = ClaimLine(line.last_token)
    granted = again.restore(Entry(one.claim) for one in line)
    assert granted == []
    assert {one.claim_id: one.held for one in again} == {one.claim_id: one.held for one in line}
    while free := [one for one in again if one.held]:
        again.remove(free[0].claim_id)
    assert list(again) == []
