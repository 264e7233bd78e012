"""Whether two globs may meet, against a matcher that looks at real paths."""

import fnmatch
import time

from coord_runtime.globs import may_meet
from hypothesis import assume, given, settings
from hypothesis import strategies as st

_NAMES = ["a", "b", "ab", "a.b", "*"]
_SEGMENTS = [*_NAMES, "a*", "*b", "?", "[ab]", "[!a]", "\\*", "**"]

paths = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4)


@st.composite
def globs_of(draw: st.DrawFn, path: list[str]) -> str:
    """A glob in gitignore syntax that has something of a path."""
    segments = [
        draw(st.sampled_from([name.replace("*", "\\*"), *_SEGMENTS]))
        for name in path[: draw(st.integers(1, len(path)))]
    ]
    prefix, suffix = draw(st.sampled_from(["", "", "/", "**/"])), draw(st.sampled_from(["", "/"]))
    return prefix + "/".join(segments) + suffix


def matches(glob: str, path: list[str]) -> bool:
    """What gitignore(5) says of a file: it, or a folder that it is in, has the glob's form."""
    body = glob.rstrip("/")
    segments = body.lstrip("/").split("/")
    if "/" not in body:
        segments = ["**", *segments]
    folders = len(path) - glob.endswith("/")
    return any(_fits(segments, path[:depth]) for depth in range(1, folders + 1))


def _fits(segments: list[str], names: list[str]) -> bool:
    if not segments:
        return not names
    if segments[0] == "**":
        # At the end it stands for one name at least: `a/**` is what is in `a`.
        fewest = 1 if len(segments) == 1 else 0
        return any(_fits(segments[1:], names[skip:]) for skip in range(fewest, len(names) + 1))
    pattern = segments[0].replace("\\*", "[*]")
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern) and _fits(segments[1:], names[1:])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), paths)
def test_globs_that_match_one_path_may_meet(data: st.DataObject, path: list[str]) -> None:
    one, other = data.draw(globs_of(path)), data.draw(globs_of(path))
    assume(matches(one, path) and matches(other, path))
    assert may_meet(one, other)


def test_a_class_ends_where_git_says_that_it_does() -> None:
    assert may_meet("/v[0-9\\]].sql", "/v1.sql")
    assert may_meet("/v[[:digit:]x].sql", "/vx.sql")
    assert may_meet("/v[]0-9].sql", "/v1.sql")
    assert may_meet("/v[0/9].sql", "/v9.sql")
    assert not may_meet("/v\\[0].sql", "/v0.sql")


def test_more_than_two_stars_are_as_many_folders_as_two() -> None:
    assert may_meet("/src/***/a.py", "/src/x/y/a.py")
    assert not may_meet("/src/***/a.py", "/docs/a.py")


def test_long_globs_are_taken_to_meet_rather_than_compared() -> None:
    began = time.perf_counter()
    assert may_meet("*a" * 2_000 + "x", "*a" * 2_000 + "y")
    assert time.perf_counter() - began < 0.5
    assert not may_meet("/a" + "b" * 500, "/a" + "c" * 500)


def test_globs_of_different_folders_do_not_meet() -> None:
    assert not may_meet("src/*.py", "docs/*.py")
    assert not may_meet("/a/b", "/a/c")
    assert not may_meet("/a\\*", "/ab")
