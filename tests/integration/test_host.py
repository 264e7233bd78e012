"""Starting, finding and sharing the services of a project."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from coord.errors import CoordError
from coord.v1 import queue_pb2
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_host.attach import attach_or_start
from coord_host.endpoint import find
from coord_host.host import start
from coord_host.places import Place, locate
from coord_host.split import start_split

OVERRIDES: dict[str, dict[str, Any]] = {"node": {"metrics": ""}}


def place(folder: Path) -> Place:
    return Place("p", None, folder / "state")


async def stats(host: Any) -> queue_pb2.GetQueueStatsResponse:
    stub: Any = QueueServiceStub(host.channel("queue"))
    return await stub.GetQueueStats(queue_pb2.GetQueueStatsRequest(project="p"), timeout=60)


async def test_the_second_attaches_to_the_first(tmp_path: Path) -> None:
    async with attach_or_start(place(tmp_path), OVERRIDES) as first:
        assert first.embedded
        async with attach_or_start(place(tmp_path), OVERRIDES) as second:
            assert not second.embedded
            assert await stats(second) == await stats(first)
        await stats(first)
    assert find(place(tmp_path)) is None


async def test_after_a_restart_services_are_where_workers_know_them(tmp_path: Path) -> None:
    async with start(place(tmp_path), OVERRIDES) as first:
        address = first.endpoint.addresses["coordinator"]
    async with start(place(tmp_path), OVERRIDES) as again:
        assert again.endpoint.addresses["coordinator"] == address
    port = int(address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        async with start(place(tmp_path), OVERRIDES) as elsewhere:
            assert elsewhere.endpoint.addresses["coordinator"] != address
            await stats(elsewhere)
            settled = elsewhere.endpoint.addresses["coordinator"]
    async with start_split(place(tmp_path), OVERRIDES) as split:
        assert split.addresses["coordinator"] == settled
        assert len(set(split.addresses.values())) == 4


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"integrator": {"check": "make test"}}, "--check 'make test'"),
        ({"integrator": {"setup": "npm ci"}}, "--setup 'npm ci'"),
        ({"node": {"metrics": "127.0.0.1:9464"}}, "--metrics-port 9464"),
        ({"queue": {"lease_s": "3"}}, "--set queue.lease_s=3"),
    ],
)
async def test_services_that_run_with_other_settings_are_not_silently_used(
    tmp_path: Path, asked: dict[str, dict[str, Any]], option: str
) -> None:
    async with start(place(tmp_path), OVERRIDES):
        with pytest.raises(CoordError) as caught:
            async with attach_or_start(place(tmp_path), OVERRIDES | asked):
                pass
    assert caught.value.reason == "RUNNING_OTHERWISE"
    assert f"; drop {option}, or end them first" in caught.value.message


async def test_each_service_of_a_split_host_comes_back_after_a_kill(tmp_path: Path) -> None:
    async with start_split(place(tmp_path), OVERRIDES):
        async with attach_or_start(place(tmp_path), {}) as host:
            before = {one.pid for one in psutil.Process().children()}
            assert len(before) == 4
            for pid in before:
                psutil.Process(pid).kill()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await stats(host)
                        break
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.05)
    assert not {one.pid for one in psutil.Process().children()} & before


def test_all_worktrees_of_a_repository_share_a_place(tmp_path: Path) -> None:
    repo = tmp_path / "my repo"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "-C", str(repo)]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "other")], check=True)
    (repo / "deep").mkdir()
    places = [locate(path) for path in (repo, repo / "deep", tmp_path / "other")]
    assert len({one.project for one in places}) == 1
    assert places[0].project.startswith("my-repo-")
    assert places[0].repo == repo
    assert os.path.commonpath([repo, places[0].state]) != str(repo)


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CoordError) as caught:
        locate(tmp_path)
    assert caught.value.reason == "NOT_A_REPOSITORY"


def test_a_git_that_is_killed_says_nothing_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CoordError) as caught:
        locate(tmp_path)
    assert caught.value.reason == "GIT_ENDED"
