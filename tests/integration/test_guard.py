"""The guard in real repositories: alone, before the edits of Claude Code, and before commits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from coord import guard
from coord.v1 import claims_pb2, common_pb2
from coord_cli.guard_hooks import guard_command, make_hooks
from coord_coordinator.guard_file import claim_text, guard_text
from coord_host.places import Place

from tests.integration.repositories import ENVIRONMENT, git, make_repository

ME = {"COORD_WORKER": "me", "COORD_FENCING_TOKEN": "7"}
_NAMES = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
COMMITTER = dict.fromkeys(_NAMES, "t")


class Guarded:
    """A repository, and what the coordinator has told the guard."""

    def __init__(self, folder: Path) -> None:
        self.repo = make_repository(folder / "repo")
        self.place = Place("p", self.repo, folder / "state")
        make_hooks(self.place)
        self.told: dict[str, Any] = {"stopped": "", "newest": 9, "live": [7, 8]}
        self.claims: list[claims_pb2.Claim] = []

    def claim(self, holder: str, glob: str, token: int = 0) -> None:
        attempt = common_pb2.AttemptRef(fencing_token=token)
        resources = [claims_pb2.Resource(path=glob)]
        self.claims.append(
            claims_pb2.Claim(claim_id="c1", holder=holder, attempt=attempt, resources=resources)
        )

    def tell(self) -> None:
        text = guard_text(self.told, map(claim_text, self.claims))
        (self.place.state / "guard.json").write_text(text)

    def ask(
        self, *arguments: str, said: str = "", cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        self.tell()
        return subprocess.run(
            [*guard_command(self.place), *arguments],
            input=said,
            cwd=cwd or self.repo,
            env=ENVIRONMENT | ME | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def commit(self, *files: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Commit files as the agent of a worker does, with the variables that it gets."""
        self.tell()
        for file in files:
            path = self.repo / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{len(path.read_text()) if path.exists() else 0}\n")
        git(self.repo, "add", *files)
        hooks = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.hooksPath",
            "GIT_CONFIG_VALUE_0": str(self.place.state / "guard" / "hooks"),
        }
        return subprocess.run(
            ["git", "commit", "-qm", "work"],
            cwd=self.repo,
            env=ENVIRONMENT | COMMITTER | ME | hooks | variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


@pytest.mark.parametrize(
    ("glob", "path", "status"),
    [
        ("src/**", "src/a.py", guard.BLOCKED),
        ("src/", "src/lib/a.py", guard.BLOCKED),
        ("*.py", "deep/down/a.py", guard.BLOCKED),
        ("src/**/test_?.py", "src/x/y/test_a.py", guard.BLOCKED),
        ("src/a.py", "src/a.pyc", guard.FREE),
        ("/a.py", "src/a.py", guard.FREE),
        ("src/*.py", "src/lib/a.py", guard.FREE),
        ("sr\\*", "sr*", guard.BLOCKED),
        ("sr\\*", "src", guard.FREE),
    ],
)
def test_what_others_claim_may_not_be_edited(
    glob: str, path: str, status: int, guarded: Guarded
) -> None:
    guarded.claim("other", glob)
    done = guarded.ask(path)
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr == f"coord: {path} is claimed by other ({glob}, claim c1)\n"


def test_what_is_ones_own_may_be_edited_but_not_what_ones_other_attempt_has(
    guarded: Guarded,
) -> None:
    guarded.claim("me", "/mine")
    guarded.claim("me", "/this", token=7)
    guarded.claim("me", "/that", token=8)
    assert guarded.ask("mine", "this").returncode == guard.FREE
    assert "that is claimed by me" in guarded.ask("that").stderr


def test_nothing_may_be_edited_while_everything_is_stopped_or_without_a_lease(
    guarded: Guarded,
) -> None:
    assert guarded.ask("a").returncode == guard.FREE
    lost = guarded.ask("a", COORD_FENCING_TOKEN="6")
    assert (lost.returncode, lost.stderr.split(";")[0]) == (
        guard.BLOCKED,
        "coord: attempt 6 has lost its lease",
    )
    # It is newer than what the file knows.
    assert guarded.ask("a", COORD_FENCING_TOKEN="10").returncode == guard.FREE
    guarded.told["stopped"] = "lunch"
    assert guarded.ask("a").stderr == "coord: everything is stopped: lunch\n"


def test_without_a_coordinator_all_may_be_edited_and_a_broken_file_is_told(
    guarded: Guarded,
) -> None:
    guarded.ask("a")
    told = guarded.place.state / "guard.json"
    for text in ("", "{}", '{"stopped"', "[]"):
        told.write_text(text)
        done = subprocess.run(
            [*guard_command(guarded.place), "a"], capture_output=True, check=False
        )
        assert (done.returncode, b"cannot tell" in done.stderr) == (guard.TROUBLE, True)
    told.unlink()
    assert subprocess.run([*guard_command(guarded.place), "a"], check=False).returncode == 0


def test_claude_code_is_told_before_it_edits(guarded: Guarded) -> None:
    guarded.claim("other", "src/**")
    settings = json.loads((guarded.place.state / "guard" / "claude.json").read_text())
    (matcher,) = settings["hooks"]["PreToolUse"]
    assert {"Edit", "Write", "NotebookEdit"} <= set(matcher["matcher"].split("|"))

    def before(tool: str, **tool_input: Any) -> "subprocess.CompletedProcess[str]":
        call = {"tool_name": tool, "tool_input": tool_input, "cwd": str(guarded.repo)}
        guarded.ask("x")  # Writes the file.
        command = matcher["hooks"][0]["command"]
        return subprocess.run(
            ["/bin/sh", "-c", command],
            input=json.dumps(call),
            env=ENVIRONMENT | ME | {"COORD_WORKTREE": str(guarded.repo)},
            capture_output=True,
            text=True,
            check=False,
        )

    absolute = str(guarded.repo / "src" / "a.py")
    blocked = before("Edit", file_path=absolute, old_string='"file_path": "x"', new_string="")
    assert (blocked.returncode, "src/a.py is claimed by other" in blocked.stderr) == (2, True)
    assert before("NotebookEdit", notebook_path="src/a.ipynb").returncode == guard.BLOCKED
    assert before("Write", file_path=str(guarded.repo / "docs" / "a.md")).returncode == guard.FREE
    assert before("Write", file_path="/elsewhere/src/a.py").returncode == guard.FREE
    assert before("Bash", command="ls").returncode == guard.FREE
    guarded.told["stopped"] = "lunch"
    assert before("Bash", command="ls").returncode == guard.BLOCKED


def test_a_commit_of_what_others_claim_is_refused_and_the_repositorys_hooks_run(
    guarded: Guarded,
) -> None:
    log = guarded.repo.parent / "log"
    for name in ("pre-commit", "commit-msg", "post-commit"):
        hook = guarded.repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\necho {name} "$#" >>{log}\n')
        hook.chmod(0o755)
    guarded.claim("other", "src/**")
    refused = guarded.commit("src/a.py", "docs/a.md")
    assert (refused.returncode, refused.stderr) == (
        1,
        "coord: src/a.py is claimed by other (src/**, claim c1)\n",
    )
    assert not log.exists()
    git(guarded.repo, "rm", "-q", "--cached", "src/a.py")
    assert guarded.commit("docs/b.md").returncode == 0
    assert log.read_text().splitlines() == ["pre-commit 0", "commit-msg 1", "post-commit 0"]
    assert "hooksPath" not in (guarded.repo / ".git" / "config").read_text()


def test_a_hook_of_the_repository_that_refuses_still_refuses(guarded: Guarded) -> None:
    folder = guarded.repo / "team-hooks"
    folder.mkdir()
    (folder / "pre-commit").write_text("#!/bin/sh\nexit 3\n")
    (folder / "pre-commit").chmod(0o755)
    git(guarded.repo, "config", "core.hooksPath", "team-hooks")
    assert guarded.commit("a").returncode == 1
    (folder / "pre-commit").unlink()
    assert guarded.commit("a").returncode == 0


def test_the_guards_hooks_serve_as_those_of_a_checkout(guarded: Guarded) -> None:
    git(guarded.repo, "config", "core.hooksPath", str(guarded.place.state / "guard" / "hooks"))
    own = guarded.repo / ".git" / "hooks" / "pre-commit"
    own.parent.mkdir(exist_ok=True)
    own.write_text("#!/bin/sh\necho own >&2\n")
    own.chmod(0o755)
    guarded.claim("other", "src/**")
    assert guarded.commit("src/a.py", GIT_CONFIG_COUNT="0").returncode == 1
    git(guarded.repo, "rm", "-q", "--cached", "src/a.py")
    assert guarded.commit("a", GIT_CONFIG_COUNT="0").stderr == "own\n"


def test_the_guard_imports_nothing_that_is_slow(guarded: Guarded) -> None:
    guarded.ask("a")
    script = (
        "import sys; before = set(sys.modules)\n"
        "import importlib.util as u\n"
        f"spec = u.spec_from_file_location('guard', {guard.__file__!r})\n"
        "guard = u.module_from_spec(spec); here = set(sys.modules)\n"
        "spec.loader.exec_module(guard)\n"
        f"status = guard.main(['--file', {str(guarded.place.state / 'guard.json')!r}, 'a'])\n"
        "print(status, sorted(set(sys.modules) - here))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=guarded.repo,
        env=os.environ | ME,
    )
    assert done.stdout == "0 ['__future__', '_json']\n"
