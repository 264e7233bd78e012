import itertools
from pathlib import Path

import pytest
from coord.times import MINUTE, SECOND
from coord_cli.amounts import format_length, format_money, parse_length, parse_money
from coord_cli.plan import Plan, load_plan
from coord_cli.plan_graph import cycles, in_order, show_cycle
from coord_cli.plan_problems import PlanError
from coord_cli.plan_specs import batches, bucket_limits, task_specs
from coord_cli.profiles import BUILT_IN, CATEGORIES, GENERAL, parse_workers
from hypothesis import given
from hypothesis import strategies as st

GOOD = """\
[plan]
name = "spring"
budget = "$5.00"

[defaults]
timeout = "10m"
retries = 1
labels = {team = "a"}

[profiles.painter]
capabilities = ["paint"]
preferences = {design = 1}
agent = "paint.sh"

[limits.anthropic]
requests_per_minute = 50
tokens_per_minute = 40000
tokens_burst = 9000

[[tasks]]
id = "b"
prompt_file = "b.md"
deps = ["a"]
priority = 5
category = "testing"
capabilities = ["code"]
paths = ["src/**"]
budget = "$0.50"
retries = 0
labels = {size = "s"}

[[tasks]]
id = "a"
title = "First"
prompt = '''
Do
this = that
'''
"""


def load(folder: Path, text: str) -> Plan:
    (folder / "b.md").write_text("From a file.")
    path = folder / "plan.toml"
    path.write_text(text)
    return load_plan(path)


def problems(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(PlanError) as caught:
        load(folder, text)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_a_plan_becomes_tasks_in_an_order_that_can_be_added(tmp_path: Path) -> None:
    first, second = task_specs(load(tmp_path, GOOD))
    assert (first.id, first.title, first.prompt) == ("a", "First", "Do\nthis = that\n")
    assert first.retry_policy.max_attempts == 2
    assert first.timeout.seconds == 600
    assert dict(first.labels) == {"team": "a", "run": "spring"}
    assert not first.HasField("priority")
    assert (second.id, second.title, second.prompt) == ("b", "b", "From a file.")
    assert list(second.deps) == ["a"]
    assert (second.priority, second.category) == (5, "testing")
    assert list(second.required_capabilities) == ["code"]
    assert list(second.paths) == ["src/**"]
    assert second.retry_policy.max_attempts == 1
    assert (second.budget.currency, second.budget.nanos) == ("USD", 500_000_000)
    assert dict(second.labels) == {"team": "a", "size": "s", "run": "spring"}


def test_the_plan_as_a_whole(tmp_path: Path) -> None:
    plan = load(tmp_path, GOOD)
    assert (plan.name, plan.content.plan.budget) == ("spring", 5 * 10**9)
    painter = plan.profiles["painter"]
    assert (painter.capabilities, painter.agent) == (("paint",), "paint.sh")
    limits = bucket_limits(plan.content.limits["anthropic"])
    assert (limits.requests.per_minute, limits.requests.burst) == (50, 50)
    assert (limits.tokens.per_minute, limits.tokens.burst) == (40_000, 9_000)
    assert not limits.HasField("input_tokens")


def test_a_plan_without_a_name_is_named_after_its_file(tmp_path: Path) -> None:
    assert load(tmp_path, '[[tasks]]\nid = "a"\nprompt = "x"').name == "plan"


def test_syntax_errors_have_a_line(tmp_path: Path) -> None:
    ((line, message),) = problems(tmp_path, '[plan]\nname = "x\n')
    assert line == 2
    assert message.startswith("this is not TOML")


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
[plan]
buget = "$5"

[[tasks]]
id = "one"
prompt = "x"
deps = ["tow"]
priority = "high"

[[tasks]]
id = "two"
prompt = '''
id = "not this one"
'''
timeout = "soon"

[[tasks]]
id = "two"
prompt = "x"
retries = 100

[[tasks]]
prompt = "x"

[[tasks]]
id = "a b"
prompt = "x"
"""
    assert problems(tmp_path, text) == [
        (2, "plan.buget is not known here; did you mean 'budget'?"),
        (7, "'one' depends on 'tow', which is no task of the plan; did you mean 'two'?"),
        (8, "tasks[0].priority must be a whole number"),
        (
            15,
            "tasks[1].timeout: 'soon' is no length of time; write it as '90s', '10m' or '1h30m'",
        ),
        (18, "tasks[1] already has the id 'two'"),
        (20, "tasks[2].retries must be at most 99"),
        (22, "tasks[3].id is missing"),
        (
            26,
            "tasks[4].id may not be 'a b': it must match ^[A-Za-z0-9._:/@+-]{1,128}$",
        ),
    ]


def test_a_cycle_is_told_with_its_ids(tmp_path: Path) -> None:
    text = "".join(
        f'[[tasks]]\nid = "{task}"\nprompt = "x"\ndeps = ["{dep}"]\n'
        for task, dep in ("ab", "bc", "ca", "da", "ee")
    )
    assert problems(tmp_path, text) == [
        (4, "a cycle: a -> b -> c -> a"),
        (20, "a cycle: e -> e"),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "give 'a' either a prompt or a prompt_file"),
        ('prompt = "x"\nprompt_file = "b.md"', "give 'a' either a prompt or a prompt_file"),
        ('prompt_file = "none.md"', "cannot be read: "),
        ('prompt = " "', "the prompt of 'a' is empty"),
        ('prompt = "x"\nlabels = {run = "y"}', "the label 'run' is the plan's name"),
        ('prompt = "x"\nbudget = "lots"', "'lots' is no amount of money"),
        ('prompt = "x"\nbudget = "$0"', "must be more than 0"),
        ('prompt = "x"\npriority = true', "must be a whole number"),
        ('prompt = "x"\npriority = 2000000', "must be at most 1000000"),
    ],
)
def test_fields_that_cannot_be(tmp_path: Path, fields: str, message: str) -> None:
    ((_, told),) = problems(tmp_path, f'[[tasks]]\nid = "a"\n{fields}\n')
    assert message in told


def test_a_plan_needs_tasks_and_a_limit_needs_a_rate(tmp_path: Path) -> None:
    assert problems(tmp_path, "[plan]\n") == [(1, "tasks is missing")]
    text = '[limits.x]\nrequests_burst = 3\n[[tasks]]\nid = "a"\nprompt = "x"\n'
    assert problems(tmp_path, text) == [
        (1, "limits.x: give it a rate, such as requests_per_minute")
    ]


def test_a_burst_is_suggested_to_who_names_it_like_its_rate(tmp_path: Path) -> None:
    text = '[limits.x]\nrequests_per_minute_burst = 3\n[[tasks]]\nid = "a"\nprompt = "x"\n'
    assert any("did you mean 'requests_burst'?" in told for _, told in problems(tmp_path, text))


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none.toml: cannot be read: No such file or directory"):
        load_plan(tmp_path / "none.toml")


def test_capabilities_that_no_worker_has(tmp_path: Path) -> None:
    text = '[[tasks]]\nid = "a"\nprompt = "x"\ncapabilities = ["{}"]\n'
    plan = load(tmp_path, text.format("deploymnt"))
    with pytest.raises(PlanError) as caught:
        plan.check_capabilities([GENERAL])
    assert str(caught.value).endswith(
        "plan.toml:4: no worker can do deploymnt, as 'a' requires; did you mean 'deployment'?"
    )
    load(tmp_path, text.format("deployment")).check_capabilities([GENERAL])


def test_capabilities_that_no_single_worker_has(tmp_path: Path) -> None:
    text = '[[tasks]]\nid = "a"\nprompt = "x"\ncapabilities = ["research", "deployment"]\n'
    workers = [BUILT_IN["researcher"], BUILT_IN["operator"]]
    with pytest.raises(PlanError, match="no single worker can do all that 'a' requires"):
        load(tmp_path, text).check_capabilities(workers)


def test_the_six_profiles_know_the_seven_categories() -> None:
    assert len(BUILT_IN) == 6
    for profile in BUILT_IN.values():
        assert set(profile.capabilities) | set(profile.preferences) <= set(CATEGORIES)


def test_workers_are_counted_or_named() -> None:
    assert parse_workers("2", BUILT_IN) == [GENERAL, GENERAL]
    coder, tester = BUILT_IN["coder"], BUILT_IN["tester"]
    assert parse_workers("coder=2, tester", BUILT_IN) == [coder, coder, tester]
    for wrong in ("0", "codr=1", "coder=x", ""):
        with pytest.raises(ValueError, match=r"no profile|no number"):
            parse_workers(wrong, BUILT_IN)


GRAPHS = st.dictionaries(
    st.integers(0, 9).map(str), st.lists(st.integers(0, 9).map(str), max_size=4), max_size=10
)


@given(GRAPHS)
def test_tasks_are_ordered_unless_there_is_a_cycle(deps: dict[str, list[str]]) -> None:
    found = cycles(deps)
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert all(after in deps[before] for before, after in itertools.pairwise(cycle))
    if not found:
        order = in_order(deps)
        assert sorted(order) == sorted(deps)
        places = {task: place for place, task in enumerate(order)}
        for task, before in deps.items():
            assert all(places[dep] < places[task] for dep in before if dep in deps)


def test_a_long_chain_is_no_trouble() -> None:
    chain = {str(number): [str(number + 1)] for number in range(5_000)}
    assert not cycles(chain)
    assert in_order(chain)[0] == "4999"
    ring = chain | {"5000": ["0"]}
    (cycle,) = cycles(ring)
    assert show_cycle(cycle).count(" -> ") == 20


def test_batches_stay_below_what_a_request_may_carry(tmp_path: Path) -> None:
    text = "".join(f'[[tasks]]\nid = "t{number}"\nprompt = "x"\n' for number in range(2_500))
    sizes = [len(batch) for batch in batches(task_specs(load(tmp_path, text)))]
    assert sizes == [1_000, 1_000, 500]


@pytest.mark.parametrize(
    ("text", "ns"),
    [("90s", 90 * SECOND), ("1h30m", 90 * MINUTE), ("0.5s", SECOND // 2), ("250ms", SECOND // 4)],
)
def test_lengths_of_time(text: str, ns: int) -> None:
    assert parse_length(text) == ns


@pytest.mark.parametrize("text", ["", "10", "m", "10 minutes", "-5s"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        parse_length(text)


def test_money_is_read_and_shown() -> None:
    assert parse_money("$0.000000001") == 1
    assert parse_money("5 USD") == 5 * 10**9
    assert [format_money(nanos) for nanos in (0, 4_300_000, 1_500_000_000, 500_000_000)] == [
        "$0.00",
        "$0.0043",
        "$1.50",
        "$0.50",
    ]
    assert [format_length(ns * SECOND) for ns in (5, 65, 3_905)] == ["5s", "1m 05s", "1h 05m"]
