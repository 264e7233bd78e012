"""The user's hooks run for an agent's own git, and for nothing of Coord's.

What the caller has set for git leads neither Coord nor agents nor checks elsewhere.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.repositories import ENVIRONMENT, git, make_repository

COORD = [sys.executable, "-c", "from coord_cli.main import main; main()"]
PLAN = "[[tasks]]\nid = 'a'\nprompt = 'x'\n"
HOOKS = (
    "applypatch-msg", "commit-msg", "post-checkout", "post-commit", "post-index-change",
    "post-merge", "post-rewrite", "pre-commit", "pre-merge-commit", "pre-push",
    "prepare-commit-msg", "reference-transaction",
)  # fmt: skip
COMMIT = "cat >a.txt; git add a.txt; git -c user.name=A -c user.email=a@x commit -q -m mine"


async def run(
    repo: Path, *options: str, agent: str = "cat >a.txt", **variables: str
) -> tuple[int, str]:
    folder = repo.parent
    (folder / "plan.toml").write_text(PLAN)
    where = ("--repo", str(repo), "--state", str(folder / "state"), "--workers", "1")
    how = ("--agent", agent, "--check", "test -f README", "--stuck-after", "0.5")
    process = await asyncio.create_subprocess_exec(
        *COORD, "run", str(folder / "plan.toml"), *where, *how, *options,
        cwd=folder, env=ENVIRONMENT | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def install_hooks(folder: Path, log: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} in $PWD >>{log}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("place", ["hooks", "core.hooksPath"])
async def test_hooks_run_for_the_agents_commit_alone(tmp_path: Path, place: str) -> None:
    repo, log = make_repository(tmp_path / "repo"), tmp_path / "log"
    folder = repo / ".git" / "hooks" if place == "hooks" else tmp_path / "shared"
    if place != "hooks":
        git(repo, "config", "core.hooksPath", str(folder))
    install_hooks(folder, log)
    status, output = await run(repo, agent=COMMIT)

    assert status == 0, output
    worktree = tmp_path / "state" / "worktrees" / "w1"
    ran = [line.split(" in ") for line in log.read_text().splitlines()]
    assert {"pre-commit", "commit-msg", "post-commit"} <= {name for name, _ in ran}
    assert {place for _, place in ran} == {str(worktree)}
    assert git(repo, "show", "main:a.txt") == "x"
    assert "post-checkout" not in {name for name, _ in ran}
    assert len([name for name, _ in ran if name == "post-commit"]) == 1


async def test_an_agents_commit_that_a_hook_refuses_stays_refused(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not so; exit 1\n")
    hook.chmod(0o755)
    status, output = await run(repo, agent=f"{COMMIT} || touch refused")

    assert status == 0, output
    assert "refused" in git(repo, "ls-tree", "--name-only", "main").split()


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{decoy}/.git"},
        {"GIT_WORK_TREE": "{decoy}", "GIT_INDEX_FILE": "{decoy}/index"},
        {"GIT_COMMON_DIR": "{decoy}/.git", "GIT_OBJECT_DIRECTORY": "{decoy}/objects"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true"},
        {"GIT_CONFIG_PARAMETERS": "'core.worktree'='{decoy}'", "GIT_NAMESPACE": "decoy"},
    ],
    ids="+".join,
)
async def test_gits_variables_of_the_caller_lead_nothing_elsewhere(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    repo, decoy = make_repository(tmp_path / "repo"), make_repository(tmp_path / "decoy")
    before = {path: path.read_bytes() for path in decoy.rglob("*") if path.is_file()}
    seen = tmp_path / "seen"
    given = {name: value.format(decoy=decoy, repo=repo) for name, value in variables.items()}
    spy = f"env | grep ^GIT_ >>{seen}"
    status, output = await run(
        repo, "--check", f"{spy}; test -f README", "--setup", f"{spy}; true",
        agent=f"{spy}; {COMMIT}", **given,
    )  # fmt: skip

    assert status == 0, output
    assert seen.read_text() == ""
    assert git(repo, "show", "main:a.txt") == "x"
    assert git(repo, "status", "--porcelain") == ""
    assert {path: path.read_bytes() for path in decoy.rglob("*") if path.is_file()} == before


async def test_env_files_reach_setup_check_and_agent_and_no_log(tmp_path: Path) -> None:
    repo, seen = make_repository(tmp_path / "repo"), tmp_path / "seen"
    (tmp_path / "vars").write_text("# keys\nexport API_KEY='s3cret $HOME'\n")
    tell = f'echo "$API_KEY" >>{seen}'
    status, output = await run(
        repo, "--env-file", str(tmp_path / "vars"), "--setup", tell, "--check", tell,
        agent=f"{tell}; cat >a.txt",
    )  # fmt: skip

    assert status == 0, output
    assert set(seen.read_text().splitlines()) == {"s3cret $HOME"}
    # The check of the target, the set-up, the agent, the check of the merged tree.
    assert len(seen.read_text().splitlines()) == 4
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert [path for path in written if b"s3cret" in path.read_bytes()] == []


@pytest.mark.parametrize(("line", "said"), [("GIT_DIR=x", "mislead"), ("KEY", "has no value")])
async def test_an_env_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, line: str, said: str
) -> None:
    repo = make_repository(tmp_path / "repo")
    (tmp_path / "vars").write_text(f"{line}\n")
    status, output = await run(repo, "--env-file", str(tmp_path / "vars"))
    assert (status, said in output) == (2, True), output


async def test_a_set_up_that_fails_costs_no_task_an_attempt_and_says_why(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    ran = tmp_path / "ran"
    setup = f"echo x >>{ran}; test -e {tmp_path}/fixed || {{ echo no such package; exit 3; }}"
    status, output = await run(repo, "--setup", setup)
    assert (status, "no such package" in output, "exit 3" in output) == (1, True, True), output
    assert "FAILED" not in output.replace("SETUP_FAILED", "")
    assert ran.read_text() == "x\n"

    (tmp_path / "fixed").touch()
    status, output = await run(repo, "--setup", setup)
    assert (status, "1 of 1 tasks landed" in output) == (0, True), output


async def test_a_squashed_change_lands_as_one_commit(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    status, output = await run(repo, "--set", "integrator.history=squash", agent=COMMIT)
    assert status == 0, output
    assert git(repo, "log", "--format=%s", "main").splitlines() == ["a", "Begin"]
    assert "Coord-Task: a" in git(repo, "log", "-1", "--format=%B", "main")
    assert git(repo, "rev-list", "--merges", "main") == ""
