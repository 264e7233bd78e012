"""Submodules in worktrees: set up by the operator's command; work inside of them is refused."""

from pathlib import Path

import grpc.aio
import pytest
from coord.errors import from_rpc
from coord.v1 import integrator_pb2

from tests.integrator_rig import Rig, commit, git, make_repository, running, write

ALLOW = "git -c protocol.file.allow=always"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    library = make_repository(tmp_path / "library")
    commit(library, {"l.txt": "second\n"})
    repo = make_repository(tmp_path / "repo")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(library), "lib")
    git(repo, "commit", "-q", "-m", "Use the library")
    setup = f"{ALLOW} submodule update --init -q"
    return Rig(repo, tmp_path / "state", {"check": "true", "target": "main", "setup": setup})


async def test_the_setup_command_fills_submodules_and_they_stay_links(rig: Rig) -> None:
    async with running(rig):
        path = await rig.begin("w1", "t")
        assert (path / "lib" / "l.txt").read_text() == "second\n"
        git(path / "lib", "checkout", "-q", "HEAD~1")
        await rig.submit("w1", "t")
        landed = await rig.ended("t")

    assert landed.state == integrator_pb2.CHANGE_STATE_LANDED, landed.message
    link = git(rig.repo, "ls-tree", landed.landed_commit, "lib").split()
    assert link[:3] == ["160000", "commit", git(path / "lib", "rev-parse", "HEAD")]


@pytest.mark.parametrize("committed", [True, False])
async def test_work_inside_a_submodule_is_refused_and_stays_on_disk(
    rig: Rig, committed: bool
) -> None:
    async with running(rig):
        path = await rig.begin("w1", "t")
        write(path, {"lib/new.txt": "new\n"})
        if committed:
            git(path / "lib", "add", ".")
            git(path / "lib", "-c", "user.name=A", "-c", "user.email=a@x", "commit", "-qm", "new")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await rig.submit("w1", "t")
        await rig.begin("w1", "u")

    error = from_rpc(refusal.value)
    assert error.reason == "NOT_KEPT"
    assert "the submodule lib has changes of its own" in error.message
    (safe,) = (path.parent / ".unkept").iterdir()
    assert (safe / "lib" / "new.txt").read_text() == "new\n"
