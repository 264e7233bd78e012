import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from coord_cli.main import main

from tests.integration.repositories import git, make_repository

PLAN = '[[tasks]]\nid = "a"\nprompt = "x"\n'


class Cli:
    def __init__(self, folder: Path) -> None:
        self.repo = make_repository(folder / "repo")
        self.state = folder / "state"
        self.plan = folder / "plan.toml"
        self.plan.write_text(PLAN)

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    def run(self, *arguments: str) -> Result:
        where = ("--repo", str(self.repo), "--state", str(self.state))
        return self("run", str(self.plan), *where, *arguments)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


CHECKED = ("--agent", "true", "--check", "true")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--agent", "true"), "no check: say how a merged tree is tested"),
        (("--agent", "true", "--check", " "), "--check is empty"),
        (("--agent", "true", "--check", "x", "--no-check"), "contradict each other"),
        (("--check", "true"), "no agent: name one with --agent"),
        (("--agent", "no-such-command x", "--check", "true"), "'no-such-command x' is not there"),
        (("--agent", "true", "--agent-args=-x", "--check", "true"), "goes with a preset"),
        ((*CHECKED, "--workers", "codr=1"), "there is no profile 'codr'; there are auditor"),
        ((*CHECKED, "--workers", "0"), "no number of workers"),
        ((*CHECKED, "--set", "lease=3"), "write it as section.key=value"),
        ((*CHECKED, "--set", "queue.no_such=3"), "queue.no_such"),
        ((*CHECKED, "--set", "queue.no_such=3", "--dry-run"), "queue.no_such"),
        (
            (*CHECKED, "--set", "integratr.history=squash", "--dry-run"),
            "no section 'integratr'; there are coordinator, integrator, ledger, limiter, node,",
        ),
        (
            ("--agent", "true", "--check", "./a dir/run", "--dry-run"),
            """a path with spaces within it: --check "'./a dir/run'\"""",
        ),
        ((*CHECKED, "--with-deps"), "--with-deps goes with --only"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_started(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    (cli.repo / "a dir").mkdir()
    (cli.repo / "a dir/run").touch(0o755)
    result = cli.run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not (cli.state / "workers").exists()


def test_a_state_folder_that_cannot_be_used_is_one_error(cli: Cli) -> None:
    cli.state = cli.plan / "below-a-file"
    result = cli.run(*CHECKED)
    assert result.exit_code == 1, result.exception
    assert result.output == f"coord: {cli.state}: Not a directory\n"


def test_a_database_that_cannot_be_opened_is_one_error(cli: Cli) -> None:
    (cli.state / "queue/queue.db").mkdir(parents=True)
    result = cli.run(*CHECKED)
    assert result.exit_code == 1, result.exception
    assert result.output == (
        "coord: the state folder cannot be used: unable to open database file\n"
    )


def test_a_full_disk_is_one_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("coord_host.host.FolderLock", full)
    result = cli.run(*CHECKED)
    assert result.exit_code == 1, result.exception
    assert "written: No space left on device\n" in result.output


def test_a_log_that_cannot_be_written_does_not_end_the_run(cli: Cli) -> None:
    cli.state.mkdir()
    (cli.state / "run.log").symlink_to("/dev/full")
    result = cli.run(*CHECKED)
    assert result.exit_code == 0, result.exception
    assert "1 of 1 tasks done, 0 of them with a change on coord/main, in " in result.output


def test_a_missing_preset_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    result = cli.run("--agent", "claude", "--check", "true")
    assert result.exit_code == 2
    assert "needs the command 'claude', which is not installed" in result.output
    assert not cli.state.exists()


@pytest.mark.parametrize("command", ["run", "dry run", "doctor"])
def test_an_agent_that_worktrees_do_not_have_is_told_of(cli: Cli, command: str) -> None:
    script = cli.repo / "my agent.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)

    def tell(*more: str) -> Result:
        agent = ("--agent", "'./my agent.sh' --yes", *more)
        where = ("--repo", str(cli.repo), "--state", str(cli.state))
        if command == "doctor":
            return cli("doctor", *agent, *where)
        return cli.run(*agent, "--check", "true", *(["--dry-run"] if command == "dry run" else []))

    result = tell()
    assert result.exit_code == (1 if command == "doctor" else 2)
    assert "my agent.sh is not committed, and worktrees have only what is" in result.output
    assert not cli.state.exists()
    git(cli.repo, "add", ".")
    git(cli.repo, "commit", "-q", "-m", "Add an agent")
    result = tell()
    assert (result.exit_code, "not committed" in result.output) == (0, False), result.output


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--agent", "sh tools/a.sh --yes"), "the agent 'sh tools/a.sh --yes': tools/a.sh is not"),
        (("--setup", "python3 a.py"), "the set-up 'python3 a.py': a.py is not committed"),
        (("--setup", "./a.sh"), "the set-up './a.sh': a.sh is not committed"),
        (("--agent", "sh -c 'echo x >a'"), ""),
        (("--setup", "sh /dev/null"), ""),
        (("--setup", "true; sh a.sh"), ""),
    ],
)
def test_a_script_that_worktrees_do_not_have_is_told_of(
    cli: Cli, flags: tuple[str, ...], told: str
) -> None:
    result = cli.run("--agent", "true", "--check", "true", "--dry-run", *flags)
    assert result.exit_code == (2 if told else 0), result.output
    assert told in result.output


@pytest.mark.parametrize("way", ["include", "setup", "landing branch"])
def test_an_agent_that_comes_to_worktrees_in_another_way_is_run(cli: Cli, way: str) -> None:
    (cli.repo / "agent.sh").write_text("#!/bin/sh\n")
    (cli.repo / "agent.sh").chmod(0o755)
    setup = ("--setup", f"cp {cli.repo}/agent.sh .") if way == "setup" else ()
    if way == "include":
        (cli.repo / ".worktreeinclude").write_text("*.sh\n")
        (cli.repo / ".git/info/exclude").write_text("*.sh\n")
    if way == "landing branch":
        git(cli.repo, "checkout", "-q", "-b", "coord/main")
        git(cli.repo, "add", ".")
        git(cli.repo, "commit", "-q", "-m", "Land an agent")
        git(cli.repo, "checkout", "-q", "main")
    result = cli.run("--agent", "./agent.sh", "--check", "true", *setup, "--dry-run")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_prompt_that_is_too_large_is_one_error(cli: Cli, command: str) -> None:
    (cli.plan.parent / "long.md").write_text("x" * 10 * 2**20)
    cli.plan.write_text(f'{PLAN}[[tasks]]\nid = "b"\nprompt_file = "long.md"\n')
    result = cli("plan", "check", str(cli.plan)) if command == "check" else cli.run(*CHECKED)
    assert result.exit_code == 2
    assert result.output == (
        f"coord: {cli.plan}:6: tasks[1].prompt_file: the prompt of 'b' has 10.0 MiB, and may have"
        " 1 MiB: commit the text as a file of the repository, and name that file in the prompt\n"
    )
    assert not cli.state.exists()


def test_problems_of_a_plan_are_told_with_file_and_line(cli: Cli) -> None:
    cli.plan.write_text(PLAN + 'deps = ["b"]\n[[tasks]]\nid = "a"\nprompt = "x"\n')
    result = cli.run(*CHECKED)
    assert result.exit_code == 2
    assert f"{cli.plan}:4: 'a' depends on 'b', which is no task of the plan" in result.output
    assert f"{cli.plan}:6: tasks[0] already has the id 'a'" in result.output
    assert not cli.state.exists()


def test_a_capability_that_no_worker_has_is_told(cli: Cli) -> None:
    cli.plan.write_text(PLAN + 'capabilities = ["deployment"]\n')
    result = cli.run(*CHECKED, "--workers", "coder=2")
    assert result.exit_code == 2
    assert "no worker can do deployment, as 'a' requires" in result.output
    assert not cli.state.exists()


def test_a_folder_that_is_no_repository_is_told(cli: Cli, tmp_path: Path) -> None:
    where = ("--repo", str(tmp_path), "--state", str(cli.state))
    result = cli("run", str(cli.plan), *where, *CHECKED)
    assert result.exit_code == 2
    assert "is not (in) a git repository" in result.output
    assert not cli.state.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("task", "cancel", "a"),
        ("task", "list"),
        ("task", "show", "a"),
        ("token", "a"),
        ("events",),
        ("worker",),
    ],
)
def test_commands_that_need_services_say_how_to_start_them(
    cli: Cli, command: tuple[str, ...]
) -> None:
    where = ("--repo", str(cli.repo), "--state", str(cli.state))
    agent = ("--agent", "true") if command == ("worker",) else ()
    result = cli(*command, *where, *agent)
    assert result.exit_code == 2
    assert "coord up" in result.output


def test_a_task_without_a_log_is_told(cli: Cli) -> None:
    result = cli("logs", "a", "--repo", str(cli.repo), "--state", str(cli.state))
    assert result.exit_code == 2
    assert "no log of 'a': no agent has begun it; or a worker of your own has" in result.output


def test_a_command_imports_only_what_it_needs() -> None:
    code = """
import sys
from coord_cli.main import main
main(["token", "--help"], standalone_mode=False)
print([one for one in sys.modules if one in ("coord_cli.run", "coord_queue")])
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.splitlines()[-1] == "[]"
