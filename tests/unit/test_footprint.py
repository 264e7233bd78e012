"""Which heads may collide, by what they change."""

import pytest
from coord_integrator.footprint import Footprint

_ABC = "a" * 40


def footprint(*changes: tuple[str, str, str]) -> Footprint:
    """Return the footprint of changes: old mode, new mode, path."""
    lines = (f":{old} {new} {_ABC} {_ABC} X\0{path}\0" for old, new, path in changes)
    return Footprint.parse("".join(lines).encode())


def edited(path: str) -> tuple[str, str, str]:
    return "100644", "100644", path


def added(path: str) -> tuple[str, str, str]:
    return "000000", "100644", path


def removed(path: str) -> tuple[str, str, str]:
    return "100644", "000000", path


def emptied(path: str) -> tuple[str, str, str]:
    return "040000", "000000", path


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ([edited("a/b")], [edited("a/b")], True),
        ([edited("a/b")], [edited("a/c")], False),
        ([edited("a/b")], [edited("a/bc")], False),
        ([added("a")], [added("a/b/c")], True),
        ([removed("d/x"), emptied("d"), added("e/x")], [added("d/new")], True),
        ([removed("d/x"), emptied("d"), added("e/x")], [added("d/deep/new")], True),
        ([removed("d/x"), emptied("d"), added("e/x")], [edited("d/y")], False),
        ([removed("d/x"), added("e/x")], [added("d/new")], False),
        ([], [edited("a")], False),
    ],
)
def test_only_what_is_surely_apart_is_told_apart(
    one: list[tuple[str, str, str]], other: list[tuple[str, str, str]], may: bool
) -> None:
    assert footprint(*one).may_collide(footprint(*other)) is may
    assert footprint(*other).may_collide(footprint(*one)) is may


def test_names_are_taken_as_git_has_them() -> None:
    odd = Footprint.parse(b":000000 160000 0 1 A\0new\nline\xff\0")
    assert odd.links == {"new\nline\udcff"}
