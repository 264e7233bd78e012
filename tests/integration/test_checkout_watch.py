"""What counts as a change of the user's checkout that no landing has made."""

from pathlib import Path

from coord_cli.checkout_watch import CheckoutWatch, Stray

from tests.integration.repositories import git, make_repository


def land(repo: Path) -> None:
    """Put a change on the landing branch that the checkout is not on yet."""
    git(repo, "checkout", "-q", "-b", "coord/main")
    (repo / "new.txt").write_text("landed\n")
    (repo / "README").unlink()
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Land")
    git(repo, "checkout", "-q", "main")


def test_files_that_a_landing_is_about_to_bring_along_are_not_told_of(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    watch = CheckoutWatch(repo, "main")
    land(repo)
    (repo / "new.txt").write_text("landed\n")
    (repo / "README").unlink()
    assert watch.strays() == []
    (repo / "new.txt").write_text("something else\n")
    assert watch.strays() == [Stray("new.txt", [])]


def test_what_the_user_had_is_told_of_when_it_is_written_over_or_removed(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    (repo / "README").write_text("my own\n")
    (repo / "ä b.txt").write_text("mine\n")
    (repo / "kept.txt").write_text("mine\n")
    watch = CheckoutWatch(repo, "")
    assert watch.strays() == []
    git(repo, "checkout", "-q", "README")
    (repo / "ä b.txt").unlink()
    assert [one.path for one in watch.strays()] == ["README", "ä b.txt"]
