"""Profiles: what kinds of workers there are, and which work suits them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CATEGORIES = ("git", "code", "research", "audit", "testing", "deployment", "analysis")


@dataclass(frozen=True)
class Profile:
    """What a worker can do and does best.

    Attributes:
        name: Its name; empty for a worker that takes anything.
        capabilities: What it can do. A task goes only to a worker with all that it requires.
        preferences: Categories that it does best, with weights of 0 to 1.
        agent: Its own agent; empty for that of the run.
    """

    name: str
    capabilities: tuple[str, ...]
    preferences: Mapping[str, float] = field(default_factory=dict)
    agent: str = ""


# A worker without a profile: it can do all that is usual and prefers nothing.
GENERAL = Profile("", CATEGORIES)

BUILT_IN = {
    profile.name: profile
    for profile in (
        Profile(
            "coder",
            ("code", "git", "testing"),
            {"code": 1.0, "git": 0.6, "testing": 0.5},
        ),
        Profile(
            "reviewer",
            ("analysis", "audit", "code", "git"),
            {"audit": 0.9, "analysis": 0.8, "code": 0.4},
        ),
        Profile(
            "tester",
            ("analysis", "code", "git", "testing"),
            {"testing": 1.0, "code": 0.4, "analysis": 0.3},
        ),
        Profile(
            "researcher",
            ("analysis", "research"),
            {"research": 1.0, "analysis": 0.7},
        ),
        Profile(
            "auditor",
            ("analysis", "audit", "git", "research"),
            {"audit": 1.0, "analysis": 0.6, "research": 0.3},
        ),
        Profile(
            "operator",
            ("deployment", "git", "testing"),
            {"deployment": 1.0, "git": 0.8, "testing": 0.3},
        ),
    )
}


def parse_workers(text: str, profiles: Mapping[str, Profile]) -> list[Profile]:
    """Return a profile for each worker of `4` or `coder=2,tester=1`.

    Raises:
        ValueError: The text is neither, or names a profile that is not there.
    """
    if text.strip().isdigit():
        return [GENERAL] * _positive(text)
    workers: list[Profile] = []
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name.strip() not in profiles:
            known = ", ".join(sorted(profiles))
            raise ValueError(f"there is no profile {name.strip()!r}; there are {known}")
        workers += [profiles[name.strip()]] * _positive(number or "1")
    return workers


def _positive(text: str) -> int:
    if not text.strip().isdigit() or not 0 < int(text) <= 1_000:  # noqa: PLR2004 - the number is its own name here.
        raise ValueError(f"{text!r} is no number of workers; write 4 or coder=2,tester=1")
    return int(text)
