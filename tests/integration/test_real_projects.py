"""The main job on other people's code: two libraries, with their own tests as the check."""

import json
import shlex
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo import verify
from tests.integration.cli_project import COORD
from tests.integration.repositories import ENVIRONMENT, git

HERE = Path(__file__).parent / "real_projects"
# In the virtual environment, so that only its first run needs the network.
SOURCES = Path(sys.prefix) / "real-projects"
AGENT = shlex.join([sys.executable, "-B", str(HERE / "refactor.py")])
# Loading plugins and rewriting asserts takes longer than the tests.
PYTEST = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain"]
# The runs are made once for all tests: they must not be spread over several processes.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("real projects")]
COST_USD = 0.01
HOPELESS = "hopeless"


@dataclass(frozen=True)
class Library:
    """A library, and what is to be done to it.

    Attributes:
        archive: Its source distribution, without the ending.
        path: The module for tasks that are to fail on the way.
        functions: Functions in it: to collide in, to break and mend, to break for good.
        history: How changes are to land.
        check: Arguments of pytest.
        jobs: Functions by path and kind of task.
    """

    archive: str
    path: str
    functions: tuple[str, str, str]
    history: str
    check: tuple[str, ...]
    jobs: dict[str, dict[str, list[str]]]

    @property
    def command(self) -> str:
        return shlex.join(["env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", *PYTEST, *self.check])


PARSE = Library(
    archive="parse-1.22.4",
    path="parse/__init__.py",
    functions=("with_pattern", "findall", "search"),
    history="squash",
    # Its own settings ask for a plugin that counts lines.
    check=("-c", "/dev/null", "--rootdir=.", "tests"),
    jobs={
        "parse/__init__.py": {
            "extract": ["int_convert.__call__", "date_convert", "Parser._handle_field"],
            "rename": [
                "int_convert.__call__",
                "date_convert",
                "strf_date_convert",
                "Parser._search_re",
                "Parser._match_re",
                "Parser.parse",
                "Parser.search",
                "Parser._to_group_name",
            ],
            "annotate": [
                "convert_first.__init__",
                "convert_first.__call__",
                "percentage",
                "FixedTzOffset.tzname",
                "FixedTzOffset.__eq__",
                "get_regex_for_datetime_format",
            ],
        }
    },
)
TOOLZ = Library(
    archive="toolz-1.2.0",
    path="toolz/itertoolz.py",
    functions=("remove", "groupby", "take"),
    history="merge",
    check=(),
    jobs={
        "toolz/itertoolz.py": {
            "extract": ["merge_sorted", "diff"],
            "rename": ["accumulate", "interleave", "unique", "isdistinct"],
        },
        "toolz/functoolz.py": {
            "extract": ["compose"],
            "rename": ["apply", "pipe", "curry._should_curry", "juxt.__call__"],
        },
        "toolz/dicttoolz.py": {
            "rename": ["merge", "valmap", "keymap", "itemmap"],
            "document": ["keyfilter"],
        },
        "toolz/recipes.py": {"document": ["countby", "partitionby"]},
    },
)


@dataclass(frozen=True)
class Done:
    """A run that has ended."""

    library: Library
    folder: Path
    status: int
    output: str
    report: dict[str, Any]

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def history(self) -> list[str]:
        """Return what has landed, newest first."""
        span = f"base..{verify.target_of(self.repo)}"
        return git(self.repo, "rev-list", "--first-parent", span).split()

    def attempts(self) -> list[dict[str, Any]]:
        return [one for task in self.report["tasks"] for one in task["history"]]

    def task(self, task_id: str) -> dict[str, Any]:
        return next(task for task in self.report["tasks"] if task["id"] == task_id)


@pytest.fixture(scope="module")
def sources() -> Path:
    """Return the folder that has the source distributions."""
    if not all((SOURCES / f"{one.archive}.tar.gz").exists() for one in (PARSE, TOOLZ)):
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        pinned = ["--require-hashes", "--requirement", str(HERE / "sources.txt")]
        subprocess.run([*download, *pinned, "--dest", str(SOURCES)], check=True, timeout=100)
    return SOURCES


def make_repository(folder: Path, sources: Path, library: Library) -> Path:
    with tarfile.open(sources / f"{library.archive}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    repo = (folder / library.archive).rename(folder / "repo")
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "Begin")
    git(repo, "tag", "base")
    return repo


def plan(library: Library) -> str:
    """Return a plan: a task for each function, two that collide, one mended, one hopeless."""
    tasks = [
        task(f"{kind}-{function}", kind, path, function)
        for path, kinds in library.jobs.items()
        for kind, functions in kinds.items()
        for function in functions
    ]
    collide, mend, spoil = library.functions
    tasks += [
        task("left", "document", library.path, collide, meets=["right"], priority=1),
        task("right", "document", library.path, collide, meets=["left"], priority=1),
        task("mended", "mend", library.path, mend, priority=1),
        task(HOPELESS, "break", library.path, spoil, priority=1, retries=0),
    ]
    head = {"name": library.archive, "budget": "$5.00"}
    return json.dumps({"plan": head, "defaults": {"retries": 5}, "tasks": tasks})


def task(
    name: str, kind: str, path: str, function: str, *, meets: list[str] | None = None, **more: int
) -> dict[str, Any]:
    prompt = {"kind": kind, "path": path, "function": function, "meets": meets or []}
    return {"id": name, "prompt": json.dumps(prompt), **more}


def start(folder: Path, library: Library) -> "subprocess.Popen[str]":
    (folder / "plan.json").write_text(plan(library))
    (folder / "meetings").mkdir()
    where = ("--repo", str(folder / "repo"), "--state", str(folder / "state"))
    how = ("--agent", AGENT, "--workers", "4", "--check", library.command)
    more = ("--set", f"integrator.history={library.history}", "--report", str(folder / "report"))
    noted = {"JOURNAL": str(folder / "journal"), "MEETINGS": str(folder / "meetings")}
    return subprocess.Popen(
        [*COORD, "run", str(folder / "plan.json"), *where, *how, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT | noted,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Done]:
    """Run both libraries' plans at the same time."""
    begun = []
    for library in (PARSE, TOOLZ):
        folder = tmp_path_factory.mktemp(library.archive)
        make_repository(folder, sources, library)
        begun.append((library, folder, start(folder, library)))
    done = []
    for library, folder, process in begun:
        output, _ = process.communicate()
        report = json.loads((folder / "report" / "report.json").read_text())
        done.append(Done(library, folder, process.returncode, output, report))
    return done


@pytest.fixture(params=["parse", "toolz"])
def done(request: pytest.FixtureRequest, runs: list[Done]) -> Done:
    return next(one for one in runs if one.library.archive.startswith(request.param))


def test_all_lands_but_for_what_cannot(done: Done) -> None:
    states = {task["id"]: task["state"] for task in done.report["tasks"]}
    assert len(states) >= 20
    assert {name for name, state in states.items() if state != "COMPLETE"} == {HOPELESS}, (
        done.output
    )
    assert (done.status, states[HOPELESS]) == (1, "FAILED")


def test_every_landed_tree_has_passed_the_check(done: Done) -> None:
    landed = [one for one in done.attempts() if one["commit"]]
    # A change may be red together with others, or be seen to be flaky, and land by itself.
    assert [one for one in landed if not any(run["passed"] for run in one["checks"])] == []
    history = done.history()
    assert sorted(one["commit"] for one in landed) == sorted(history)
    for commit in (history[0], history[len(history) // 2]):
        tree = done.folder / commit
        git(done.repo, "worktree", "add", "-q", "--detach", str(tree), commit)
        checked = subprocess.run(
            done.library.command, shell=True, cwd=tree, check=False, capture_output=True
        )
        assert checked.returncode == 0, checked.stdout.decode()


def test_the_history_is_as_configured(done: Done) -> None:
    parents = {
        len(git(done.repo, "show", "-s", "--format=%P", one).split()) for one in done.history()
    }
    assert parents == {{"merge": 2, "squash": 1}[done.library.history]}
    landed = verify.landed(done.repo)
    assert set(landed.values()) == {1}
    assert set(landed) == {task["id"] for task in done.report["tasks"]} - {HOPELESS}


def test_nothing_that_an_agent_wrote_is_lost(done: Done) -> None:
    journal = done.folder / "journal"
    assert verify.lines_written(journal) >= len(done.attempts())
    assert verify.lines_lost(done.repo, done.folder / "state", journal) == []


def test_a_collision_is_told_of_and_mended(done: Done) -> None:
    results = {
        name: [one["result"] for one in done.task(name)["history"]] for name in ("left", "right")
    }
    assert "CONFLICT" in results["left"] + results["right"], results
    assert [one[-1] for one in results.values()] == ["landed", "landed"]


def test_what_breaks_the_tests_is_mended_by_what_they_print(done: Done) -> None:
    results = [one["result"] for one in done.task("mended")["history"]]
    assert results == ["CHECK_FAILED", "landed"]


def test_a_rejected_change_is_explained(done: Done) -> None:
    (attempt,) = done.task(HOPELESS)["history"]
    assert attempt["result"] == "CHECK_FAILED"
    where = ("--repo", str(done.repo), "--state", str(done.folder / "state"))
    explained = subprocess.run(
        [*COORD, "task", "explain", HOPELESS, *where],
        check=True,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert "the check failed on the merged tree, exit status 1" in explained.stdout
    markdown = (done.folder / "report" / "report.md").read_text()
    assert "the check failed on the merged tree, exit status 1" in markdown
    printed = (done.folder / "report" / attempt["checks"][-1]["output"]).read_text()
    assert f"TypeError: {HOPELESS}@" in printed


def test_the_report_knows_what_each_task_has_cost(done: Done) -> None:
    for task in done.report["tasks"]:
        assert task["cost_usd"] == pytest.approx(COST_USD * len(task["history"]))
    assert done.report["cost_usd"] == pytest.approx(COST_USD * len(done.attempts()))


def test_the_users_checkout_has_what_has_landed(done: Done) -> None:
    assert git(done.repo, "rev-parse", "main") == done.history()[0]
    assert git(done.repo, "status", "--porcelain") == ""
