"""An account: rate limits and money that several repositories share."""

import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from coord.errors import CoordError
from coord.v1 import admission_pb2, common_pb2, ledger_pb2, limiter_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord_host.attach import Host, attach_or_start
from coord_host.host import start
from coord_host.places import Place, locate_account
from coord_host.split import start_split

QUIET: dict[str, Any] = {"node": {"metrics": ""}}
SHARED = {"coordinator": {"account": "key"}} | QUIET
KEY = "account/key"
SCOPE = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_ACCOUNT, id="key")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # The path of a socket has a hundred characters at most.
    with tempfile.TemporaryDirectory(prefix="coord-") as folder:
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        yield Path(folder)


def project(state: Path, name: str) -> Place:
    return Place(name, None, state / name)


async def admit(host: Host, name: str, *buckets: str) -> str:
    """Ask for a call of ten cents; return what was decided."""
    stub: Any = CoordinatorServiceStub(host.channel("coordinator"))
    asked = admission_pb2.CallRequest(
        call_id=name,
        model="gpt-4o",
        max_output_tokens=10_000,
        buckets=buckets,
    )
    request = admission_pb2.AdmitRequest(project=host.place.project, request=asked)
    response = await stub.Admit(request)
    kind = response.WhichOneof("outcome")
    return response.refusal.metadata["scope_kind"] if kind == "refusal" else kind


async def test_an_account_is_one_for_all_who_attach_to_it(state: Path) -> None:
    async with start(locate_account("key"), QUIET) as account:
        limit = limiter_pb2.RateLimit(per_minute=1, burst=3)
        limiter: Any = LimiterServiceStub(account.channel("limiter"))
        await limiter.ConfigureBucket(
            limiter_pb2.ConfigureBucketRequest(
                project=account.place.project,
                name=KEY,
                limits=limiter_pb2.BucketLimits(requests=limit),
            )
        )
        ledger: Any = LedgerServiceStub(account.channel("ledger"))
        cap = common_pb2.Money(currency="USD", nanos=25 * 10**7)
        await ledger.SetBudget(
            ledger_pb2.SetBudgetRequest(project=account.place.project, scope=SCOPE, cap=cap)
        )
        async with (
            start(project(state, "a"), SHARED) as one,
            attach_or_start(project(state, "b"), SHARED) as other,
            attach_or_start(project(state, "b"), SHARED) as attached,
        ):
            assert await admit(one, "1", KEY) == "admission"
            assert await admit(other, "1", KEY) == "admission"
            assert await admit(one, "2", KEY) == "account"
            assert await admit(attached, "2", KEY) == "account"
            settling = admission_pb2.CallSettlement(call_id="1", model="gpt-4o")
            stub: Any = CoordinatorServiceStub(other.channel("coordinator"))
            await stub.SettleCalls(
                admission_pb2.SettleCallsRequest(project="b", settlements=[settling])
            )
            assert [await admit(one, str(number), KEY) for number in (3, 4)] == [
                "admission",
                "account",
            ]


async def test_projects_go_on_after_a_restart_of_their_account(state: Path) -> None:
    async with AsyncExitStack() as first:
        await first.enter_async_context(start(locate_account("key"), QUIET))
        async with start(project(state, "a"), SHARED) as host:
            assert await admit(host, "1") == "admission"
            await first.aclose()
            async with start(locate_account("key"), QUIET) as account:
                assert await admit(host, "2") == "admission"
                ledger: Any = LedgerServiceStub(account.channel("ledger"))
                request = ledger_pb2.GetBalanceRequest(project=account.place.project, scope=SCOPE)
                assert (await ledger.GetBalance(request)).balance.pending.nanos == 2 * 10**8


async def test_caps_of_the_projects_own_are_not_left_behind_in_silence(state: Path) -> None:
    place, scope = project(state, "a"), ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")
    cap = common_pb2.Money(currency="USD", nanos=1)
    async with start(locate_account("key"), QUIET):
        for request, then in (
            (ledger_pb2.SetBudgetRequest(project="a", scope=scope, cap=cap), "which are on run/r"),
            (ledger_pb2.SetBudgetRequest(project="a", scope=scope, remove=True), ""),
        ):
            async with start(place, QUIET) as host:
                ledger: Any = LedgerServiceStub(host.channel("ledger"))
                await ledger.SetBudget(request)
            with pytest.raises(CoordError, match=then) if then else nullcontext():
                async with start(place, SHARED) as host:
                    assert await admit(host, "1") == "admission"


async def test_what_an_account_needs_is_said(state: Path) -> None:
    with pytest.raises(CoordError, match="start `coord account key`"):
        async with start(project(state, "a"), SHARED):
            pass
    with pytest.raises(CoordError, match="--split"):
        async with start_split(project(state, "a"), SHARED):
            pass
    with pytest.raises(CoordError, match="an account has"):
        locate_account("../key")
    async with start(locate_account("key"), QUIET), start(project(state, "a"), QUIET):
        with pytest.raises(CoordError, match="RUNNING_OTHERWISE"):
            async with attach_or_start(project(state, "a"), SHARED):
                pass
