"""Calls to models, admitted before they are made: for any program that has a worker's token."""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
import structlog

from coord.calls import Estimate, ModelCall, granted, is_busy, not_made
from coord.client import CHANNEL_OPTIONS, connect
from coord.environment import SYSTEM, Environment
from coord.errors import AWAY, CoordError, from_rpc
from coord.identity import Identity
from coord.times import SECOND, duration, from_seconds
from coord.v1 import admission_pb2, common_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub

T = TypeVar("T")

# The coordinator is asked again after this time; the place in line is kept.
_TURN_NS = 30 * SECOND
_ANSWER_S = 90.0
# Who is away is asked again after this time: the call's id makes that safe.
_AWAY_S = 1.0

_log = structlog.get_logger()


class Admitting(ABC):
    """Who asks for calls, and tells what has become of them."""

    @asynccontextmanager
    async def admit(self, **estimate: Any) -> AsyncIterator[ModelCall]:
        """Wait until a call to a model may be made, and settle it after the block.

        A block that ends with an error that tells of status 429 gives the call back, and nobody is
        admitted to its limits until the provider wants calls again.

        Args:
            estimate: The fields of `coord.calls.Estimate`.

        Raises:
            CoordError: FAILED_PRECONDITION with the reason for which it is refused, such as
                CAP_REACHED; RESOURCE_EXHAUSTED where it was not admitted in time, UNAVAILABLE where
                the services were away until then.
        """
        request = self._request(Estimate(**estimate))
        try:
            call = ModelCall(request, await self._ask(request))
        except asyncio.CancelledError:
            # It may have been admitted meanwhile.
            await self._tell(not_made(request))
            raise
        try:
            yield call
        except BaseException as error:
            call.note(error)
            raise
        finally:
            await self._tell(call.settlement)

    async def insist(self, make: Callable[[ModelCall], Any], **estimate: Any) -> Any:
        """Admit and make a call, again for as long as its provider is too busy.

        Args:
            make: Makes the call, and settles it; a function or a coroutine function.
            estimate: See `admit`.

        Returns:
            What `make` returns.
        """
        while True:
            try:
                async with self.admit(**estimate) as call:
                    made = make(call)
                    return await made if isinstance(made, Awaitable) else made
            except Exception as error:
                # Whoever asks now waits until the provider wants calls again, this one, too.
                if not is_busy(error):
                    raise

    @abstractmethod
    def _request(self, estimate: Estimate) -> admission_pb2.CallRequest:
        """Return a question under a new id."""

    @abstractmethod
    async def _ask(self, request: admission_pb2.CallRequest) -> admission_pb2.CallAdmission:
        """Wait until a call is admitted; raise CoordError where it is not."""

    @abstractmethod
    async def _tell(self, settlement: admission_pb2.CallSettlement) -> None:
        """Tell what has become of a call."""


class _Asker(ABC):
    """Who asks, in words of the contract."""

    def __init__(
        self,
        identity: Identity | None = None,
        *,
        attempt: common_pb2.AttemptRef | None = None,
        wait_s: float | None = None,
        environment: Environment = SYSTEM,
    ) -> None:
        self._identity = identity or Identity.from_environment(os.environ)
        self._attempt = attempt if identity or attempt else _attempt_of_this_process()
        self._wait_ns = None if wait_s is None else from_seconds(wait_s)
        self._environment = environment
        self._connect()

    @abstractmethod
    def _connect(self) -> None:
        """Make ready to call the coordinator."""

    def _request(self, estimate: Estimate) -> admission_pb2.CallRequest:
        return estimate.request(self._environment.new_id("call-"), self._attempt)

    def _question(
        self, request: admission_pb2.CallRequest, began_ns: int
    ) -> tuple[admission_pb2.AdmitRequest, bool]:
        """Return what to ask now, and whether that is the last time."""
        waited_ns = self._environment.monotonic_ns() - began_ns
        left_ns = _TURN_NS if self._wait_ns is None else max(0, self._wait_ns - waited_ns)
        asking = admission_pb2.AdmitRequest(
            project=self._identity.project,
            worker=self._identity.worker,
            request=request,
            wait=duration(min(left_ns, _TURN_NS)),
        )
        return asking, self._wait_ns is not None and left_ns <= _TURN_NS

    def _report(self, settlement: admission_pb2.CallSettlement) -> admission_pb2.SettleCallsRequest:
        return admission_pb2.SettleCallsRequest(
            project=self._identity.project,
            worker=self._identity.worker,
            settlements=[settlement],
        )


class Client(_Asker, Admitting):
    """Admits calls to models, for a program that is no `coord.Worker` itself, such as an agent.

        async with coord.Client() as client:
            async with client.admit(model=..., input_tokens=..., max_output_tokens=...) as call:
                answer = await anthropic.messages.create(max_tokens=call.max_output_tokens, ...)
                call.settle(answer.usage)

    Args:
        identity: Who asks; by default what the variables of an agent, or of `coord token`, say.
        attempt: What the calls are for; by default the agent's attempt, if this is one.
        wait_s: How long to wait for a call; None for as long as it takes.
        environment: Time and ids.
    """

    def _connect(self) -> None:
        # An event loop is needed for more.
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = connect(self._identity.address, self._identity.token)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def _ask(self, request: admission_pb2.CallRequest) -> admission_pb2.CallAdmission:
        began_ns, last = self._environment.monotonic_ns(), False
        while True:
            asking, last = self._question(request, began_ns)
            try:
                response = await self._call("Admit", asking)
            except CoordError as error:
                if last or error.code not in AWAY:
                    raise
                await asyncio.sleep(_AWAY_S)
                continue
            if admission := granted(response, last=last):
                return admission

    async def _tell(self, settlement: admission_pb2.CallSettlement) -> None:
        try:
            await self._call("SettleCalls", self._report(settlement))
        except CoordError as error:
            # What it has brought is not lost for that: it then counts at its estimate.
            _log.warning("call not settled", call=settlement.call_id, error=str(error))

    async def _call(self, name: str, request: Any) -> Any:
        if self._channel is None:
            raise RuntimeError("use the client as a context: async with coord.Client() as client")
        stub = CoordinatorServiceStub(self._channel)
        try:
            return await getattr(stub, name)(request, timeout=_ANSWER_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None


class SyncClient(_Asker):
    """The same as `Client`, for programs without an event loop."""

    def _connect(self) -> None:
        self._channel = grpc.insecure_channel(self._identity.address, options=CHANNEL_OPTIONS)
        self._stub: Any = CoordinatorServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._channel.close()

    @contextmanager
    def admit(self, **estimate: Any) -> Iterator[ModelCall]:
        """Wait until a call may be made, and settle it after the block; see `Client.admit`."""
        request = self._request(Estimate(**estimate))
        call = ModelCall(request, self._ask(request))
        try:
            yield call
        except BaseException as error:
            call.note(error)
            raise
        finally:
            self._tell(call.settlement)

    def insist(self, make: Callable[[ModelCall], T], **estimate: Any) -> T:
        """Admit and make a call, again for as long as its provider is too busy."""
        while True:
            try:
                with self.admit(**estimate) as call:
                    return make(call)
            except Exception as error:
                if not is_busy(error):
                    raise

    def _ask(self, request: admission_pb2.CallRequest) -> admission_pb2.CallAdmission:
        began_ns, last = self._environment.monotonic_ns(), False
        while True:
            asking, last = self._question(request, began_ns)
            try:
                response = self._call(self._stub.Admit, asking)
            except CoordError as error:
                if last or error.code not in AWAY:
                    raise
                time.sleep(_AWAY_S)
                continue
            if admission := granted(response, last=last):
                return admission

    def _tell(self, settlement: admission_pb2.CallSettlement) -> None:
        try:
            self._call(self._stub.SettleCalls, self._report(settlement))
        except CoordError as error:
            _log.warning("call not settled", call=settlement.call_id, error=str(error))

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        metadata = (("authorization", f"Bearer {self._identity.token}"),)
        try:
            return method(request, timeout=_ANSWER_S, wait_for_ready=True, metadata=metadata)
        except grpc.RpcError as error:
            raise from_rpc(error) from None


def _attempt_of_this_process() -> common_pb2.AttemptRef | None:
    """Return the attempt of the agent that this process belongs to; None where it is none."""
    task_id, token = os.environ.get("COORD_TASK_ID"), os.environ.get("COORD_FENCING_TOKEN", "")
    if not task_id or not token.isdecimal():
        return None
    return common_pb2.AttemptRef(task_id=task_id, fencing_token=int(token))
