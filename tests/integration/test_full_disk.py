"""A disk that fills up in the middle of a run: nothing is lost, and the run says whose it is."""

from pathlib import Path

import pytest

from tests.integration.repositories import git
from tests.integration.test_odd_repositories import run, tmpfs, usual

PLAN = "".join(f"[[tasks]]\nid = '{name}'\nprompt = 'x'\nretries = 0\n" for name in "ab")


def filling(folder: Path, end: str) -> str:
    """Return an agent that does its work and fills a disk, once."""
    filler = folder / "filler"
    fill = f"[ -e '{folder.parent}/full' ] || {{ cat /dev/zero >'{filler}'; "
    return f"echo x >$COORD_TASK_ID.txt; {fill} touch '{folder.parent}/full'; {end}; }} 2>/dev/null"


def emptied(folder: Path) -> str:
    """Return the commands that make room again once the run has said that it waits for that."""
    told = f"until grep -q 'waiting for room' '{folder.parent}/output'; do sleep 0.1; done"
    return f"( {told}; rm '{folder}/filler' ) >/dev/null 2>&1 &"


@pytest.mark.parametrize(
    ("full", "end"),
    [("repo", "true"), ("repo", "exit 1"), ("state", "true"), ("state", "exit 1")],
)
async def test_a_run_waits_for_room_and_goes_on(tmp_path: Path, full: str, end: str) -> None:
    repo, folder = usual(tmp_path), tmp_path / full
    folder.mkdir(exist_ok=True)
    status, output = await run(
        repo,
        tmp_path,
        "--stuck-after",
        "60",
        plan=PLAN,
        agent=filling(folder, end),
        before=f"{tmpfs(folder, '32m')}; {emptied(folder)}",
        after=f"git -C '{repo}' show coord/main:a.txt coord/main:b.txt",
    )
    assert f"waiting for room: only 0 MiB are free on the disk of {folder}" in output
    assert (status, "2 of 2 tasks landed" in output) == (0, True), output
    assert output.endswith("x\nx\n"), output


@pytest.mark.parametrize("full", ["repo", "state"])
async def test_a_run_that_gets_no_room_ends_and_loses_nothing(tmp_path: Path, full: str) -> None:
    repo, folder = usual(tmp_path), tmp_path / full
    folder.mkdir(exist_ok=True)
    work = tmp_path / "state" / "worktrees" / "w1" / "a.txt"
    again = f"cat '{work}' >'{tmp_path}/kept'; rm '{folder}/filler'; "
    status, output = await run(
        repo,
        tmp_path,
        plan=PLAN,
        agent=filling(folder, "true"),
        before=f'{tmpfs(folder, "32m")}; trap "{again}" EXIT',
    )
    assert (status, "plan: stuck; 0 of 2 tasks landed" in output) == (1, True), output
    assert f"only 0 MiB are free on the disk of {folder}" in output
    assert "Traceback" not in output
    assert (tmp_path / "kept").read_text() == "x\n"
    if full == "state":
        assert git(repo, "status", "--porcelain") == ""
