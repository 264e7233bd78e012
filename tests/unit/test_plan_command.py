import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from coord_cli.main import main

PLAN = """\
[plan]
name = "spring"
budget = "$1"
[defaults]
timeout = "10m"
budget = "$0.50"
[[tasks]]
id = "a"
title = 'Say "hi" <b>'
prompt = "x"
[[tasks]]
id = "b"
prompt = "x"
deps = ["a"]
[[tasks]]
id = "c"
prompt = "x"
deps = ["a"]
[[tasks]]
id = "d"
prompt = "x"
deps = ["b", "c"]
timeout = "1h"
"""


def call(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["plan", *arguments], input=stdin)


@pytest.fixture
def plan(tmp_path: Path) -> str:
    (tmp_path / "plan.toml").write_text(PLAN)
    return str(tmp_path / "plan.toml")


def test_check_says_what_a_good_plan_amounts_to(plan: str) -> None:
    result = call("check", plan)
    assert result.exit_code == 0
    assert result.output == (
        "spring is good\n"
        "4 tasks in 3 levels; the widest has 2\n"
        "critical path: 3 tasks, at most 1h 20m, or 4h 00m with all retries: a -> b -> d\n"
        "cost: at most $1.00\n"
        "the plan's budget, $1.00, is less than its tasks' budgets together, $2.00: once it is"
        " spent, nothing more is begun\n"
    )
    found = json.loads(call("check", plan, "--json").output)
    assert (found["tasks"], found["widest_level"], found["critical_path"]) == (
        4,
        2,
        ["a", "b", "d"],
    )
    assert (found["cost_usd_max"], found["task_budgets_usd"]) == (1.0, 2.0)
    assert (found["critical_path_s"], found["critical_path_s_max"]) == (4800, 3 * 4800)


def test_check_says_where_nothing_limits_cost_and_time(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("tasks: [{id: a, prompt: x}]")
    output = call("check", str(path)).output
    assert "critical path: 1 task, no limit: a" in output
    assert "cost: no limit (1 task without a budget)" in output


def test_a_field_that_is_like_no_other_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("plan: {zzz: 1}\ntasks: [{id: a, prompt: x}]")
    assert "plan.zzz is not known here; there are budget, name" in call("check", str(path)).output


def test_check_tells_all_problems_and_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("tasks:\n- {id: a, prompt: x, deps: [b]}\n- {id: a, prompt: x}\n")
    result = call("check", str(path))
    assert result.exit_code == 2
    assert result.output == (
        f"coord: {path}:2: 'a' depends on 'b', which is no task of the plan\n"
        f"{path}:3: tasks[0] already has the id 'a'\n"
    )
    result = call("check", str(path), "--json")
    assert result.exit_code == 2
    assert [one["line"] for one in json.loads(result.output)["problems"]] == [2, 3]


def test_the_graph_is_drawn_in_levels_and_for_tools(plan: str) -> None:
    assert call("graph", plan).output.splitlines() == [
        "level 1",
        '  a  Say "hi" <b>',
        "level 2",
        "  b  <- a",
        "  c  <- a",
        "level 3",
        "  d  <- b, c",
    ]
    dot = call("graph", plan, "--format", "dot").output
    assert '"a" [label="a\\nSay \\"hi\\" <b>"];' in dot
    assert '"c" -> "d";' in dot
    mermaid = call("graph", plan, "--format", "mermaid").output
    assert 't0["a: Say &quot;hi&quot; &lt;b&gt;"]' in mermaid
    assert "t2 --> t3" in mermaid
    tasks = json.loads(call("graph", plan, "--json").output)["tasks"]
    assert tasks[3] == {"id": "d", "title": "d", "level": 3, "deps": ["b", "c"]}


def bead(name: str, *deps: tuple[str, str], **fields: Any) -> dict[str, Any]:
    edges = [{"issue_id": name, "depends_on_id": dep, "type": kind} for dep, kind in deps]
    issue = {"id": name, "title": f"Title of {name}", "status": "open", "priority": 2}
    return {**issue, "issue_type": "task", "dependencies": edges, **fields}


def imported(records: list[dict[str, Any]], *arguments: str) -> tuple[dict[str, Any], str]:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    result = call("import", "-", *arguments, stdin=lines)
    assert result.exit_code == 0, result.output
    tasks = yaml.safe_load(result.stdout)["tasks"]
    return {task["id"]: task for task in tasks}, result.stderr


def test_open_issues_of_beads_become_tasks_with_their_dependencies() -> None:
    tasks, notes = imported(
        [
            bead("bd-1", priority=0, description="Line one.\nLine two.", labels=["ui", "x"]),
            bead("bd-2", ("bd-1", "blocks"), ("bd-0", "blocks"), ("bd-1", "related")),
            bead("bd-0", status="closed"),
            bead("bd-3", ("bd-9", "blocks"), acceptance_criteria="It works."),
            bead("bd-4", status="tombstone"),
            bead("bd-5", status="deferred"),
            bead("bd 6", ("bd-5", "blocks"), status="in_progress"),
        ]
    )
    assert list(tasks) == ["bd-1", "bd-2", "bd-3", "bd-6"]
    assert tasks["bd-1"]["prompt"] == "Title of bd-1\n\nLine one.\nLine two.\n"
    assert (tasks["bd-1"]["priority"], tasks["bd-2"]["priority"]) == (0, 100)
    assert tasks["bd-1"]["labels"] == {"beads": "ui,x"}
    assert tasks["bd-2"]["deps"] == ["bd-1"]
    assert "## Acceptance criteria\n\nIt works." in tasks["bd-3"]["prompt"]
    assert notes.splitlines() == [
        "coord: left out, deferred: bd-5",
        "coord: left out, links that hold nothing up: bd-2 related bd-1",
        "coord: left out, dependencies on issues that are not in the file: bd-9",
        "coord: left out, dependencies on deferred issues: bd-5",
        "coord: 'bd 6' has become 'bd-6'",
    ]


def test_children_stand_for_an_epic_and_come_before_another_parent() -> None:
    tasks, notes = imported(
        [
            bead("first"),
            bead("epic", ("first", "blocks"), issue_type="epic"),
            bead("child", ("epic", "parent-child")),
            bead("part", ("child", "parent-child")),
            bead("after", ("epic", "blocks")),
        ]
    )
    deps = {name: task.get("deps", []) for name, task in tasks.items()}
    assert deps == {
        "first": [],
        "child": ["first", "part"],
        "part": ["first"],
        "after": ["child"],
    }
    assert "epics, which their children stand for: epic" in notes


def test_a_cycle_of_issues_is_told() -> None:
    _, notes = imported([bead("a", ("b", "blocks")), bead("b", ("a", "blocks"))])
    assert "break this cycle: " in notes


def test_issues_of_github_become_tasks_with_what_their_bodies_wait_for() -> None:
    issues = [
        {"number": 1, "title": "One", "body": None, "labels": [], "state": "OPEN"},
        {
            "number": 2,
            "title": "Two",
            "body": "See #7.\n\n**Blocked by** nothing.\nDepends on: #1, #3 and #4; blocked by #5.",
            "labels": [{"name": "bug"}, {"name": "priority: high"}],
            "state": "OPEN",
            "url": "u",
        },
        {"number": 3, "title": "Three", "body": "requires o/r#8", "state": "OPEN"},
        {"number": 4, "title": "Four", "state": "CLOSED"},
        {"number": 6, "title": "Six", "blockedBy": [{"number": 1}], "labels": [{"name": "P0"}]},
    ]
    tasks, notes = imported([*issues])
    assert list(tasks) == ["1", "2", "3", "6"]
    assert tasks["2"]["deps"] == ["1", "3"]
    assert tasks["6"]["deps"] == ["1"]
    assert (tasks["2"]["priority"], tasks["6"]["priority"]) == (50, 0)
    assert tasks["2"]["labels"] == {"github": "bug,priority: high", "url": "u"}
    assert tasks["1"]["prompt"] == "One\n"
    assert notes == (
        "coord: left out, since these issues are not in the file: #2 waits for #5, #3 waits for"
        " o/r#8\n"
    )


def test_an_imported_plan_is_good_and_no_file_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "issues.jsonl").write_text(json.dumps(bead("a", description="x\n\n  y: [\n")))
    for name in ("plan.yaml", "plan.json"):
        arguments = ("import", str(tmp_path / "issues.jsonl"), "-o", str(tmp_path / name))
        assert call(*arguments).exit_code == 0
        assert call("check", str(tmp_path / name)).exit_code == 0
        again = call(*arguments)
        assert again.exit_code == 2
        assert "is there already; --force writes over it" in again.output
        assert call(*arguments, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not clear what this is"),
        ("[]", "there are no JSON objects in it"),
        ("{x", "line 1 is not JSON"),
        ('{"a": 1}', "it is not clear what this is"),
        ('{"id": "a", "title": "x", "status": "closed"}', "nothing in it is left to do"),
        ('{"id": "a", "title": 7}', "this is not as beads writes it"),
        ('{"workflow": {}}', "this is not as wfcommons writes it"),
        ('{"number": 1e400, "title": "x"}', "inf is no number of an issue"),
        ('{"number": 1, "title": "a\\u0000b"}', "a text has no NUL"),
        ("[" * 5_000, "nested too deeply"),
        ("[7]", "there are no JSON objects in it"),
    ],
)
def test_what_is_no_list_of_issues(text: str, message: str) -> None:
    result = call("import", "-", stdin=text)
    assert result.exit_code == 2
    assert message in result.output


def workflow(tasks: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "name": "w",
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": tasks}, **more},
    }


def test_a_workflow_of_wfcommons_becomes_tasks() -> None:
    command = {"program": "map", "arguments": ["-x"]}
    tasks, notes = imported(
        [
            workflow(
                [
                    {"name": "split", "id": "s#1", "parents": [], "children": ["m1"]},
                    {"name": "map", "id": "m1", "parents": ["s#1"], "children": []},
                    {"name": "map", "id": "m2", "parents": ["s#1", "gone"], "children": []},
                ],
                execution={"tasks": [{"id": "m1", "command": command}]},
            )
        ]
    )
    assert {name: task.get("deps") for name, task in tasks.items()} == {
        "s-1": None,
        "m1": ["s-1"],
        "m2": ["s-1"],
    }
    assert tasks["m1"]["prompt"] == "map\n\nmap -x\n"
    assert notes.splitlines() == [
        "coord: left out, dependencies on tasks that are not in the workflow: m2 after gone",
        "coord: 's#1' has become 's-1'",
    ]


@pytest.mark.parametrize("key", ["tasks", "jobs"])
def test_tasks_of_older_workflows_name_one_another_by_name(key: str) -> None:
    older = {
        key: [
            {"name": "a_1", "id": "ID1", "children": ["b_2"]},
            {"name": "b_2", "id": "ID2", "parents": []},
        ]
    }
    tasks, _ = imported([{"name": "w", "schemaVersion": "1.4", "workflow": older}])
    assert {name: task.get("deps") for name, task in tasks.items()} == {"a_1": None, "b_2": ["a_1"]}
