"""Repositories and agents that want git to run programs for them, or to write elsewhere."""

import os
import shlex
import subprocess
from pathlib import Path

import grpc.aio
import pytest
from coord.v1 import integrator_pb2

from tests.integration.repositories import git, make_repository
from tests.integrator_rig import Rig, running, write

LANDED = integrator_pb2.CHANGE_STATE_LANDED


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Return a folder in which each program that should not run leaves a file."""
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def tattle(traces: Path, name: str) -> str:
    """Return a command that leaves a trace, and does what a filter or a merge driver would."""
    return shlex.join(["sh", "-c", f"touch '{traces}/{name}'; cat"])


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def armed(tmp_path: Path, traces: Path) -> Path:
    """Make a repository whose configuration names programs wherever git takes one."""
    repo = make_repository(tmp_path / "repo")
    (repo / "a.txt").write_text("one\ntwo\nthree\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "Files")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "post-checkout",
        "post-merge",
        "reference-transaction",
        "post-commit",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{traces}/hook-{name}'\n")
        (hooks / name).chmod(0o755)
    for key, name in (
        ("core.fsmonitor", "fsmonitor"),
        ("core.sshCommand", "ssh"),
        ("core.pager", "pager"),
        ("core.editor", "editor"),
        ("core.askPass", "askpass"),
        ("credential.helper", "credential"),
        ("diff.external", "diff"),
        ("gpg.program", "gpg"),
        ("merge.evil.driver", "merge"),
        ("sequence.editor", "sequence"),
        ("uploadpack.packObjectsHook", "pack"),
    ):
        git(repo, "config", key, tattle(traces, name))
    git(repo, "config", "commit.gpgSign", "true")
    git(repo, "config", "core.hooksPath", str(hooks))
    return repo


async def test_no_program_that_the_repository_names_is_run(tmp_path: Path, traces: Path) -> None:
    repo = armed(tmp_path, traces)
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        other = await rig.begin("w2", "b")
        write(
            folder, {".gitattributes": "*.txt merge=evil diff=evil\n", "a.txt": "1\ntwo\nthree\n"}
        )
        write(other, {"a.txt": "one\ntwo\n3\n"})
        await rig.submit("w1", "a")
        assert (await rig.ended("a")).state == LANDED
        await rig.submit("w2", "b")
        assert (await rig.ended("b")).state == LANDED
        await rig.begin("w1", "c")
        await rig.teardown("w1")
        await rig.teardown("w2")
    assert left(traces) == []


async def test_what_an_agent_configures_is_not_run_either(tmp_path: Path, traces: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        for key in ("filter.evil.clean", "filter.evil.smudge", "merge.evil.driver"):
            git(folder, "config", key, tattle(traces, key))
        git(folder, "config", "core.fsmonitor", tattle(traces, "fsmonitor"))
        git(folder, "config", "filter.odd=name.smudge", tattle(traces, "odd"))
        attributes = "* filter=evil merge=evil\nb.txt filter=odd=name\n"
        write(folder, {".gitattributes": attributes, "a.txt": "changed\n", "b.txt": "b\n"})
        await rig.submit("w1", "a")
        change = await rig.ended("a")
        back = await rig.begin("w1", "b")
    assert change.state == LANDED, change.message
    assert git(repo, "show", f"{change.landed_commit}:a.txt") == "changed"
    assert (back / "a.txt").read_text() == "changed\n"
    assert left(traces) == []


async def test_nothing_is_written_through_links_out_of_the_tree(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    outside = tmp_path / "outside"
    outside.mkdir()
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        (folder / "link").symlink_to(outside)
        await rig.submit("w1", "a")
        assert (await rig.ended("a")).state == LANDED
        other = await rig.begin("w2", "b")
        assert (other / "link").is_symlink()
        (other / "link").unlink()
        write(other, {"link/file.txt": "inside\n"})
        await rig.submit("w2", "b")
        assert (await rig.ended("b")).state == LANDED
        back = await rig.begin("w1", "c")
        assert (back / "link" / "file.txt").read_text() == "inside\n"
    assert left(outside) == []


async def test_a_commit_with_names_that_lead_out_is_left_where_it_is(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        blob = git(folder, "hash-object", "-w", "README")
        inner = write_tree(folder, "100644", "escaped.txt", blob)
        tree = write_tree(folder, "40000", "..", inner)
        git(folder, "update-ref", "HEAD", git(folder, "commit-tree", tree, "-m", "evil"))
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be kept, so it is left as it is"):
            await rig.submit("w1", "a")
        # Its worker's next task gets a new worktree, and this one is moved away.
        await rig.begin("w1", "b")
        assert list((tmp_path / "state" / "worktrees" / ".unkept").iterdir())
    assert not list(tmp_path.rglob("escaped.txt"))
    assert git(repo, "log", "--format=%s", "main").split() == ["Begin"]


def write_tree(folder: Path, mode: str, name: str, object_id: str) -> str:
    """Write a tree with one entry that git itself would refuse to make."""
    body = f"{mode} {name}\0".encode() + bytes.fromhex(object_id)
    command = ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"]
    done = subprocess.run(command, cwd=folder, input=body, capture_output=True, check=True)
    return done.stdout.decode().strip()


async def test_names_that_shells_and_terminals_stumble_over_land_as_they_are(
    tmp_path: Path,
) -> None:
    repo = make_repository(tmp_path / "repo")
    names = [
        b"new\nline",
        b"'quoted\" $(touch x)",
        b"-dash",
        b"not utf-8 \xff",
        b"tab\t",
        b"\x1b[31m",
    ]
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        for name in names:
            (folder / os.fsdecode(name)).write_text("odd\n")
        await rig.submit("w1", "a")
        change = await rig.ended("a")
        assert change.state == LANDED, change.message
        again = await rig.begin("w2", "b")
        assert set(names) <= {os.fsencode(one.name) for one in again.iterdir()}


async def test_a_submodule_whose_url_is_an_option_is_not_fetched(
    tmp_path: Path, traces: Path
) -> None:
    repo = make_repository(tmp_path / "repo")
    module = (
        '[submodule "evil"]\n\tpath = evil\n'
        f"\turl = --upload-pack=touch {traces}/submodule\n\tupdate = !touch {traces}/update\n"
    )
    async with running(Rig(repo, tmp_path / "state", {"check": "true"})) as rig:
        folder = await rig.begin("w1", "a")
        head = git(folder, "rev-parse", "HEAD")
        write(folder, {".gitmodules": module})
        git(folder, "add", ".gitmodules")
        git(folder, "update-index", "--add", "--cacheinfo", f"160000,{head},evil")
        git(folder, "commit", "-q", "-m", "evil module")
        await rig.submit("w1", "a")
        await rig.ended("a")
        await rig.begin("w2", "b")
    assert left(traces) == []
