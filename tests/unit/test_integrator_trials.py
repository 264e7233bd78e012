"""What is tested next, what lands and what is rejected, case by case."""

from string import ascii_letters

import pytest
from coord_integrator.estimates import Estimates
from coord_integrator.evidence import Evidence, Rates, Trial
from coord_integrator.trials import Decision, Entry, decide, group_size

RATES = Rates()


def line(names: str, risk: float = 0.1, **more: bool) -> list[Entry]:
    return [Entry(name, risk, **more) for name in names]


def trial(names: str, base: str = "base") -> Trial:
    return Trial(base, tuple(names))


def evidence(*, greens: str = "", reds: str = "", proven: bool = True) -> Evidence:
    """Return what runs on the base have told, each of a few changes; greens on an earlier one."""
    known = Evidence("earlier", proven=True)
    for names in greens.split():
        known.ended(trial(names, "earlier"), passed=True)
    known.moved("base", proven=proven)
    for names in reds.split():
        known.ended(trial(names), passed=False)
    return known


@pytest.mark.parametrize(("risk", "size"), [(0.0, 32), (0.02, 8), (0.1, 4), (0.33, 1), (0.9, 1)])
def test_groups_are_as_large_as_takes_the_fewest_runs(risk: float, size: int) -> None:
    assert group_size(risk) == size


def test_all_slots_are_used_and_those_that_are_likely_to_land_are_built_upon() -> None:
    decision = decide(line("abc"), evidence(), [], 4, RATES)
    assert decision.start == (trial("a"), trial("ab"), trial("abc"))


def test_what_was_green_apart_is_certified_together_and_its_beginnings_with_it() -> None:
    decision = decide(line("abcd"), evidence(greens="ab cd"), [], 3, RATES)
    assert decision.start[0] == trial("abcd")
    assert decision.start[1:] == (trial("ab"), trial("abc"))


def test_the_longest_green_sequence_on_the_base_lands() -> None:
    known = evidence()
    for names in ("a", "ab", "c"):
        known.ended(trial(names), passed=True)
    assert decide(line("abc"), known, [], 1, RATES).land == ("a", "b")


def test_what_was_tested_behind_others_still_counts_once_those_have_landed() -> None:
    known = evidence()
    known.landed("next", ("a",))
    known.ended(trial("ab"), passed=True)
    known.ended(trial("cd"), passed=True)
    assert decide(line("bcd"), known, [], 1, RATES).land == ("b",)


def test_a_change_is_rejected_after_two_red_runs_alone() -> None:
    known = evidence(reds="a")
    assert decide(line("a"), known, [], 2, RATES).start == (trial("a"),)
    known.ended(trial("a"), passed=False)
    assert decide(line("a"), known, [], 2, RATES) == Decision(reject=("a",))


def test_nobody_is_blamed_before_the_base_is_known_to_be_green() -> None:
    known = evidence(reds="a a", proven=False)
    assert decide(line("a"), known, [], 2, RATES) == Decision(prove_base=True)
    known.prove()
    assert decide(line("a"), known, [], 2, RATES) == Decision(reject=("a",))


def test_a_red_group_is_split() -> None:
    decision = decide(line("abcd"), evidence(reds="abcd"), [], 2, RATES)
    assert decision.start == (trial("ab"), trial("cd"))


def test_what_contains_a_red_group_is_stopped_and_not_started() -> None:
    known = evidence(greens="a b c d e", reds="ba")
    running = [trial("bac")]
    assert decide(line("abcde"), known, running, 1, RATES).stop == (trial("bac"),)
    assert decide(line("abcde"), known, [], 1, RATES).start == (trial("cde"),)


def test_whatever_is_known_who_has_waited_longest_is_tested() -> None:
    """All are green apart, but whatever would be certified contains what was red."""
    names = ascii_letters[:40]
    known = evidence(greens=" ".join(names), reds=names[16::-1])
    assert decide(line(names), known, [], 1, RATES).start == (trial("a"),)


def test_a_barrier_at_the_head_lands_alone_and_nothing_overtakes_it() -> None:
    waiting = [*line("a", barrier=True), *line("bc")]
    known = evidence()
    known.ended(trial("bc"), passed=True)
    assert decide(waiting, known, [], 4, RATES) == Decision(start=(trial("a"),))
    assert decide(waiting[::-1], known, [], 4, RATES).land == ("b", "c")
    known.ended(trial("a"), passed=True)
    assert decide(waiting, known, [], 4, RATES).land == ("a",)


def test_a_barrier_does_not_wait_for_what_is_held_back() -> None:
    waiting = [*line("a", held=True), *line("b", barrier=True), *line("c")]
    known = evidence()
    assert decide(waiting, known, [], 4, RATES).start == (trial("b"),)
    known.ended(trial("b"), passed=True)
    assert decide(waiting, known, [], 4, RATES).land == ("b",)


def test_what_is_held_back_since_its_trial_began_does_not_land_nor_is_built_upon() -> None:
    waiting = [*line("a"), *line("b", held=True), *line("c")]
    known = evidence()
    known.ended(trial("ab"), passed=True)
    decision = decide(waiting, known, [trial("b")], 3, RATES)
    assert decision.land == ()
    assert decision.start == (trial("a"), trial("ac"))
    known.ended(trial("a"), passed=True)
    assert decide(waiting, known, [], 3, RATES).land == ("a",)


def test_an_urgent_change_is_tested_apart_and_one_that_is_held_not_at_all() -> None:
    waiting = [*line("a", urgent=True), *line("b", held=True), *line("cd")]
    decision = decide(waiting, evidence(), [], 1, RATES)
    assert decision.start == (trial("a"),)
    decision = decide(waiting[1:], evidence(), [], 1, RATES)
    assert decision.start == (trial("cd"),)


def test_a_red_run_raises_the_risk_and_green_ones_of_all_of_it_explain_it() -> None:
    known, priors = evidence(reds="ab"), {"a": 0.1, "b": 0.1, "c": 0.1}
    risks = known.risks(priors, RATES)
    assert risks["a"] == risks["b"] > 0.4
    assert risks["c"] == 0.1
    known.ended(trial("a"), passed=True)
    assert known.risks(priors, RATES)["b"] > risks["b"]
    known.ended(trial("b"), passed=True)
    assert known.risks(priors, RATES)["b"] == RATES.clash


def test_the_risk_of_a_kind_is_learned_from_its_latest_changes() -> None:
    seen = Estimates([("docs", False)] * 45 + [("code", True)] * 30 + [("code", False)] * 20)
    assert seen.risk("docs") < 0.02
    assert 0.5 < seen.risk("code") < 0.6
    assert seen.risk("new") == 0.1
    for _ in range(50):
        seen.ended("code", failed=False)
    assert seen.risk("code") < 0.02
