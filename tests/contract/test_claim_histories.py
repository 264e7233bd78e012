"""Claims in any order, across restarts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from coord.times import SECOND
from coord.v1 import claims_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.claims_rig import HELD, Shells, shells
from tests.serving import PROJECT, Clock

_PATHS = ("src/**", "src/a.py", "*.md", "docs/", "/top.txt")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc"), st.sampled_from(_PATHS), st.booleans()),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("pass"), st.sampled_from([5, 40, 70])),
    ),
    max_size=16,
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
async def test_in_every_history_with_restarts_no_two_held_claims_meet(
    steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = History(tmp_path_factory.mktemp("history"))
    while steps:
        steps = await history.live(steps)


class History:
    """One history of claims, on one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = Clock()
        self._tokens: dict[str, int] = {}
        self._asked = 0

    async def live(self, steps: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Take steps up to the next restart; return the rest."""
        async with shells(self._folder, "in process", self._clock) as people:
            await self._look(people)
            for number, (kind, *about) in enumerate(steps):
                if kind == "restart":
                    return steps[number + 1 :]
                await getattr(self, f"_{kind}")(people, *about)
                await self._look(people)
        return []

    async def _ask(self, people: Shells, holder: str, path: str, shared: bool) -> None:
        self._asked += 1
        resource = claims_pb2.Resource(path=path, shared=shared)
        claim_id = str(self._asked)
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=[resource])
        asking = asyncio.create_task(people.all(holder, request, wait_s=0.001))
        while not asking.done():
            await asyncio.sleep(0.001)
            self._clock.pass_ns(SECOND // 1_000)
        await asking

    async def _release(self, people: Shells, number: int) -> None:
        found = (await people.stub.ListClaims(_listing())).claims
        if found:
            one = found[number % len(found)]
            assert await people.release(one.holder, one.claim_id) == [""]

    async def _pass(self, people: Shells, seconds: int) -> None:
        del people
        self._clock.pass_ns(seconds * SECOND)

    async def _look(self, people: Shells) -> None:
        found = (await people.stub.ListClaims(_listing())).claims
        held = [one for one in found if one.state == HELD]
        for number, one in enumerate(held):
            for other in held[:number]:
                assert one.holder == other.holder or not meets(one, other), (one, other)
            known = self._tokens.setdefault(one.claim_id, one.fencing_token)
            assert known == one.fencing_token
        assert len(set(self._tokens.values())) == len(self._tokens)


def _listing() -> claims_pb2.ListClaimsRequest:
    return claims_pb2.ListClaimsRequest(project=PROJECT)


def meets(one: claims_pb2.Claim, other: claims_pb2.Claim) -> bool:
    """By a table, not by the code under test."""
    if one.resources[0].shared and other.resources[0].shared:
        return False
    paths = {one.resources[0].path, other.resources[0].path}
    return len(paths) == 1 or paths in _MEETING


_MEETING = [
    {"src/**", "src/a.py"},
    {"src/**", "*.md"},
    {"docs/", "*.md"},
    # A glob without a slash but at its end matches at any depth.
    {"docs/", "src/**"},
    # A folder may be called anything.
    {"docs/", "src/a.py"},
    {"docs/", "/top.txt"},
    {"*.md", "src/a.py"},
    {"*.md", "/top.txt"},
]
