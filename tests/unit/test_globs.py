"""Whether two globs may meet, against a matcher that looks at real paths."""

import fnmatch
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from coord import guard
from coord_runtime import globs
from coord_runtime.globs import Comparison
from hypothesis import assume, given, settings
from hypothesis import strategies as st

_NAMES = ["a", "b", "ab", "a.b", "*"]
_SEGMENTS = [*_NAMES, "a*", "*b", "?", "[ab]", "[!a]", "\\*", "**"]


def may_meet(one: str, other: str) -> bool:
    return Comparison().may_meet(one, other)


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


def test_long_names_are_compared_as_a_whole() -> None:
    assert not may_meet("/a" + "b" * 500, "/a" + "c" * 500)


def test_more_than_two_stars_are_as_many_folders_as_two() -> None:
    assert may_meet("/src/***/a.py", "/src/x/y/a.py")
    assert not may_meet("/src/***/a.py", "/docs/a.py")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many items of sequences were compared, under the name of what took them."""
    counted: Counter[str] = Counter()

    def meet(one: Sequence[object], other: Sequence[object], *rest: Any) -> bool:
        counted["steps"] += len(one) * len(other)
        return guard.meet(one, other, *rest)

    monkeypatch.setattr(globs, "meet", meet)
    globs._forms_meet.cache_clear()
    globs._segments_meet.cache_clear()
    return counted


@pytest.mark.parametrize("stars", [10, 30, 60])
def test_a_request_takes_no_more_steps_than_it_may_and_what_is_left_meets(
    stars: int, taken: Counter[str]
) -> None:
    comparison = Comparison()
    one, other = ([f"/{'*a' * stars}{end}{n:03d}" for n in range(100)] for end in "xy")
    pairs = [(left, right) for left in one for right in other]
    answers = [comparison.may_meet(*pair) for pair in pairs]
    assert (answers[0], answers[-1]) == (False, True)
    assert 0 <= comparison.steps_left < 2**14
    assert 2**16 < taken["steps"] <= 2**18


def test_a_pair_that_takes_too_many_steps_by_itself_meets_and_takes_none() -> None:
    comparison = Comparison()
    assert comparison.may_meet("/" + "*a" * 500 + "x", "/" + "*a" * 500 + "y")
    assert not comparison.may_meet("/" + "*a" * 10 + "x", "/" + "*a" * 10 + "y")


def test_what_can_be_told_by_its_folder_takes_a_step() -> None:
    comparison = Comparison(steps=10)
    assert not any(comparison.may_meet(f"/{n}/*a*/**/*b*", "/x/*a*/**/*c*") for n in range(10))
    assert comparison.may_meet("/1/*", "/x/*")


def test_globs_of_different_folders_do_not_meet() -> None:
    assert not may_meet("src/*.py", "docs/*.py")
    assert not may_meet("/a/b", "/a/c")
    assert not may_meet("/a\\*", "/ab")
