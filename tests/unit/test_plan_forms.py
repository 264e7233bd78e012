"""Plans in YAML, in JSON and as folders mean what the same plan in TOML means."""

import json
from pathlib import Path

import pytest
from coord_cli.plan import Plan, load_plan
from coord_cli.plan_problems import PlanError
from coord_cli.plan_specs import task_specs

TOML = """\
[plan]
name = "spring"
budget = "$5"
[defaults]
timeout = "10m"
expects_change = true
[limits.anthropic]
requests_per_minute = 50
[[tasks]]
id = "a"
title = "First"
prompt = "# First\\nDo it."
[[tasks]]
id = "b"
title = "b"
prompt = "Then that."
deps = ["a"]
priority = 5
labels = {size = "s"}
expects_change = false
"""
YAML = """\
plan: {name: spring, budget: $5}
defaults:
  timeout: 10m
  expects_change: true
limits:
  anthropic:
    requests_per_minute: 50
tasks:
  - id: a
    title: First
    prompt: |-
      # First
      Do it.
  - id: b
    prompt: Then that.
    deps: [a]
    priority: 5
    labels: {size: s}
    expects_change: false
"""
FOLDER = {
    "_plan.md": "---\n" + YAML[: YAML.index("tasks:")] + "---\nNotes for people.\n",
    "a.md": "# First\nDo it.\n",
    "b.md": "---\ndeps: [a]\npriority: 5\nlabels: {size: s}\nexpects_change: false\n"
    "---\n\nThen that.\n",
    "README.md": "What this folder is.",
}
JSON = """{
    "tasks": [
        {"id": "a", "prompt": "[{\\"x\\": \\"\\u00fc,]\\"}]"},
        {"id": "b", "prompt": "x",
         "deps": ["c"]}
    ]
}
"""


def load(path: Path, text: str) -> Plan:
    path.write_text(text)
    return load_plan(path)


def folder(path: Path, files: dict[str, str]) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def problems(path: Path) -> list[tuple[str, int, str]]:
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    return [(one.path.name, one.line, one.message) for one in caught.value.problems]


def told(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text)
    return [(line, message) for _, line, message in problems(path)]


def test_all_forms_mean_the_same(tmp_path: Path) -> None:
    plan = load(tmp_path / "plan.toml", TOML)
    specs = task_specs(plan)
    assert [spec.expects_change for spec in specs] == [True, False]
    raw = json.dumps(plan.source.raw)
    others = [
        load(tmp_path / "plan.yaml", YAML),
        load(tmp_path / "plan.json", raw),
        load_plan(folder(tmp_path / "plan", FOLDER)),
    ]
    for other in others:
        assert task_specs(other) == specs, other.path
        assert other.content.limits == plan.content.limits
        assert (other.name, other.content.plan) == (plan.name, plan.content.plan)


def test_a_plan_in_yaml_tells_problems_with_their_lines(tmp_path: Path) -> None:
    text = """\
plan:
  buget: $5
tasks:
  - id: one
    prompt: x
    deps:
      - tow
    retries: many
  - prompt: x
    id: 7
    title: no
    category: 2026-01-31
  - id: two
    prompt: x
    deps: two
"""
    assert told(tmp_path / "p.yaml", text) == [
        (2, "plan.buget is not known here; did you mean 'budget'?"),
        (6, "'one' depends on 'tow', which is no task of the plan; did you mean 'two'?"),
        (8, "tasks[0].retries must be a whole number"),
        (10, "tasks[1].id must be text; put it in quotes"),
        (15, "tasks[2].deps must be a list"),
    ]


def test_a_plan_in_json_tells_problems_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    assert told(path, JSON) == [(5, "'b' depends on 'c', which is no task of the plan")]
    assert told(path, '{"tasks": [\n\n}') == [(3, "this is not JSON: Expecting value")]


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("p.yaml", "tasks: [\n", 2, "this is not YAML: "),
        ("p.yaml", "tasks: []\nplan: {}\ntasks: []\n", 3, "'tasks' is already set on line 1"),
        ("p.yaml", "plan: &x {}\ndefaults: *x\n", 1, "anchors and aliases are not for plans"),
        ("p.yaml", "- a\n", 1, "write fields here"),
        ("p.yaml", "plan:\n  1: a\n", 2, "a field's name must be text"),
        ("p.yaml", "plan:\n  name: !!python/name:os.x y\n", 2, "tags such as !!python/name:os.x"),
        ("p.yaml", "tasks:\n- id: !!int x\n", 2, "tags such as !!int are not for plans"),
        ("p.yaml", "plan:\n  budget: " + "9" * 5_000, 1, "cannot be read: "),
        ("p.toml", "a = " + "[" * 5_000 + "]" * 5_000, 1, "nested too deeply"),
        ("p.toml", "a = " + "9" * 5_000, 1, "cannot be read: "),
        ("p.json", "9" * 5_000, 1, "cannot be read: "),
        ("p.yaml", "a: \x01", 1, "this is not YAML: "),
        ("p.yml", "[" * 1_200, 1, "nested too deeply"),
        ("p.json", "[" * 5_000 + "]" * 5_000, 1, "nested too deeply"),
        ("p.json", '{"a": 1,\n "a": 2}', 2, '"a" is already set on line 1'),
        ("p.json", "[]", 1, "a plan is an object"),
        ("p.txt", "", 1, "ends in .toml, .yaml or .json, or it is a folder"),
        ("p.md", "", 1, "ends in .toml, .yaml or .json, or it is a folder"),
    ],
)
def test_what_has_not_the_form_of_a_plan(
    tmp_path: Path, name: str, text: str, line: int, message: str
) -> None:
    ((told_line, told_message), *_) = told(tmp_path / name, text)
    assert told_line == line
    assert message in told_message


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            "timeout: 99999999999999999999h",
            "timeout: '99999999999999999999h' is longer than a year",
        ),
        ("timeout: 367d", "timeout: '367d' is longer than a year"),
        ("budget: $99999999999", "budget: '$99999999999' is more than can be counted"),
        ('prompt: "a\\0b"', "prompt: a text has no NUL"),
        ('title: "\\ud800"', "title: a text has no halves of characters"),
        ('labels: {x: "\\0"}', "labels.x: a text has no NUL"),
        ("prompt_file: nul.txt", "prompt_file: cannot be read: a text has no NUL"),
    ],
)
def test_what_no_service_would_take_is_told_before(
    tmp_path: Path, field: str, message: str
) -> None:
    (tmp_path / "nul.txt").write_text("a\0b")
    ((line, told_message),) = told(tmp_path / "p.yaml", f"tasks:\n- id: a\n  {field}\n")
    assert line == 3
    assert f"tasks[0].{message}" in told_message


def test_words_that_older_yaml_reads_as_something_else_are_text(tmp_path: Path) -> None:
    text = "tasks:\n  - {id: 'a', prompt: 12:30, title: no, category: on}\n"
    (spec,) = task_specs(load(tmp_path / "p.yaml", text))
    assert (spec.prompt, spec.title, spec.category) == ("12:30", "no", "on")


def test_a_task_in_markdown_takes_its_title_from_its_first_heading(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "plan",
        {
            "01-code.md": "```sh\n# no heading\n```\n## Real *one* ##\n",
            "02-own.md": "---\nid: own\ntitle: Mine\n---\n# Other\n",
            "03-none.md": "---\nprompt: Short.\n---\n",
            "04-file.md": "---\nprompt_file: text.txt\n---\n",
            "text.txt": "From a file.",
            "_draft.md": "not yet",
        },
    )
    assert [(spec.id, spec.title, spec.prompt) for spec in task_specs(load_plan(path))] == [
        ("01-code", "Real *one*", "```sh\n# no heading\n```\n## Real *one* ##"),
        ("own", "Mine", "# Other"),
        ("03-none", "03-none", "Short."),
        ("04-file", "04-file", "From a file."),
    ]


def test_a_byte_order_mark_hides_no_front_matter(tmp_path: Path) -> None:
    text = "\ufeff---\nbudget: $0.01\n---\n# First\nDo it."
    plan = load_plan(folder(tmp_path / "plan", {"a.md": text}))
    (spec,) = task_specs(plan)
    assert (spec.title, spec.budget.nanos) == ("First", 10**7)


def test_problems_of_a_folder_name_the_file_and_the_line(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "plan",
        {
            "plan.toml": '[plan]\nbudget = "lots"\n',
            "a b.md": "Do it.",
            "c.md": "---\npriority: 1\ndeps: [d]\n---\nDo it.",
            "d.md": "---\nretries: x\n---\n",
        },
    )
    assert problems(path) == [
        ("a b.md", 1, "tasks[0].id may not be 'a b': it must match ^[A-Za-z0-9._:/@+-]{1,128}$"),
        ("d.md", 2, "tasks[2].retries must be a whole number"),
        ("plan.toml", 2, "plan.budget: 'lots' is no amount of money; write it as '$0.50'"),
    ]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"x.txt": ""}, ("plan", 1, "there is no task here: no file NAME.md")),
        (
            {"a.md": "x", "plan.yaml": "plan: {}\ntasks: []\n"},
            ("plan.yaml", 2, "the tasks of this folder are its files"),
        ),
        (
            {"a.md": "x", "plan.yaml": "", "_plan.md": ""},
            ("plan.yaml", 1, "a folder has one file for the plan, not _plan.md and plan.yaml"),
        ),
        ({"a.md": "---\nid: a\n"}, ("a.md", 1, "the front matter that begins here lacks")),
        (
            {"a.md": "---\nid: a\nprompt: x\n---\ny"},
            ("a.md", 3, "the text below is the prompt already"),
        ),
        ({"a.md": "---\nid: a\nid: b\n---\ny"}, ("a.md", 3, "'id' is already set on line 2")),
    ],
)
def test_folders_that_are_no_plan(
    tmp_path: Path, files: dict[str, str], problem: tuple[str, int, str]
) -> None:
    ((name, line, message), *_) = problems(folder(tmp_path / "plan", files))
    assert (name, line) == problem[:2]
    assert problem[2] in message
