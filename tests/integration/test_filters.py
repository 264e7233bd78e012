"""Files that go through a filter, such as Git LFS, are kept and landed in their stored form."""

from pathlib import Path

import grpc.aio
import pytest
from coord.errors import CoordError
from coord.v1 import integrator_pb2

from tests.integrator_rig import Rig, commit, git, make_repository, running, write


def rig_at(tmp_path: Path, check: str, filters: str) -> Rig:
    """Return a rig on a repository whose `*.up` files have capitals on disk alone."""
    repo = make_repository(tmp_path / "repo")
    git(repo, "config", "filter.up.clean", "tr A-Z a-z")
    git(repo, "config", "filter.up.smudge", "tr a-z A-Z")
    git(repo, "config", "filter.up.required", "true")
    commit(repo, {".gitattributes": "*.up filter=up\n", "x.up": "ONE\n", "y.up": "TWO\n"})
    settings = {"check": check, "target": "main", "filters": filters}
    return Rig(repo, tmp_path / "state", settings)


async def test_a_listed_filter_is_run_for_worktrees_snapshots_and_checks(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, "grep -q ^ONE$ x.up && grep -q ^NEW$ n.up", "lfs,up")
    assert git(rig.repo, "show", "main:x.up") == "one"
    async with running(rig):
        path = await rig.begin("w1", "t")
        assert (path / "x.up").read_text() == "ONE\n"
        write(path, {"n.up": "NEW\n", "y.up": "TWO\nMORE\n"})
        await rig.submit("w1", "t")
        landed = await rig.ended("t")

    assert landed.state == integrator_pb2.CHANGE_STATE_LANDED, landed.message
    shown = [git(rig.repo, "show", f"{landed.landed_commit}:{name}.up") for name in "xyn"]
    assert shown == ["one", "two\nmore", "new"]
    changed = git(rig.repo, "diff", "--name-only", "main", landed.landed_commit).split()
    assert set(changed) <= {"n.up", "y.up"}


async def test_a_filter_that_is_used_and_not_listed_is_refused(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, "true", "lfs")
    with pytest.raises(CoordError, match=r"--set integrator\.filters=lfs,up") as refusal:
        await rig.start()
    assert refusal.value.code == grpc.StatusCode.FAILED_PRECONDITION


async def test_what_agents_configure_is_not_run(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, "true", "up")
    # Configured, but neither listed nor in use.
    git(rig.repo, "config", "filter.down.clean", "tr a-z A-Z")
    async with running(rig):
        path = await rig.begin("w1", "t")
        git(path, "config", "filter.up.clean", "cat")
        write(path, {".gitattributes": "*.up filter=up\n*.d filter=down\n"})
        write(path, {"n.up": "NEW\n", "n.d": "as it is\n"})
        await rig.submit("w1", "t")
        landed = await rig.ended("t")

    assert git(rig.repo, "show", f"{landed.landed_commit}:n.up") == "new"
    assert git(rig.repo, "show", f"{landed.landed_commit}:n.d") == "as it is"
