"""Names made from ids: git takes them all, and no two ids get the same."""

import subprocess

import pytest
from coord_integrator import names
from hypothesis import given
from hypothesis import strategies as st

IDS = st.text("aZ0._:/@+-", min_size=1, max_size=128)
TRICKY = ["a/b", "a..b", ".a", "a.", "a.lock", "a.lock.lock", "@", "-a", "a:b", "a%2Fb", "..."]


@pytest.mark.parametrize("task", TRICKY)
def test_git_takes_every_branch_and_ref(task: str) -> None:
    for ref in (
        f"refs/heads/{names.branch('w', task, 'main')}",
        names.wip_ref(task, 7, "0" * 40),
    ):
        assert subprocess.run(("git", "check-ref-format", ref), check=False).returncode == 0, ref


@given(IDS, IDS)
def test_two_ids_never_get_one_name(one: str, other: str) -> None:
    assert (names.component(one) == names.component(other)) == (one == other)


@given(IDS)
def test_a_name_fits_a_file_system(task: str) -> None:
    assert len(names.component(task)) <= 200


def test_a_worker_called_like_the_target_leaves_its_landing_branch_free() -> None:
    landing = names.landing_branch("main")
    assert not names.branch("main", "t", "main").startswith(f"{landing}/")
    assert names.branch("w1", "t", "main") == "coord/w1/t"
