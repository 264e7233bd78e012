"""A call to a model: what it is expected to use, what it has used, what its provider has said."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from coord.errors import CoordError
from coord.times import duration_ns
from coord.v1 import admission_pb2, common_pb2, limiter_pb2

TOO_MANY_REQUESTS = 429
# Overloaded, rather than broken: what Anthropic says, and everybody.
BUSY = frozenset({TOO_MANY_REQUESTS, 503, 529})
# What providers call them: Anthropic first, then OpenAI.
_INPUT, _OUTPUT = ("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")


@dataclass(frozen=True)
class Estimate:
    """What a call is expected to use.

    Attributes:
        model: The model as its provider names it.
        input_tokens: Input tokens.
        max_output_tokens: The most output tokens that it will allow.
        min_output_tokens: The fewest that are of use, where the money is too little for all. 0: all
            or nothing.
        buckets: The rate limits that it counts for; none for those of the worker.
        lane: How urgent it is.
    """

    model: str
    input_tokens: int
    max_output_tokens: int
    min_output_tokens: int = 0
    buckets: Sequence[str] = ()
    lane: limiter_pb2.Lane = limiter_pb2.LANE_NORMAL

    def request(
        self, call_id: str, attempt: common_pb2.AttemptRef | None
    ) -> admission_pb2.CallRequest:
        """Return the question whether it may be made."""
        return admission_pb2.CallRequest(
            call_id=call_id,
            attempt=attempt,
            model=self.model,
            input_tokens=self.input_tokens,
            max_output_tokens=self.max_output_tokens,
            min_output_tokens=self.min_output_tokens,
            buckets=self.buckets,
            lane=self.lane,
        )


class ModelCall:
    """A call that was admitted. What is not settled counts at its estimate.

    Attributes:
        max_output_tokens: The most output tokens that are paid for: to be declared to the provider.
        reserved: What was reserved for it.
    """

    def __init__(
        self, request: admission_pb2.CallRequest, admission: admission_pb2.CallAdmission
    ) -> None:
        self.max_output_tokens: int = admission.max_output_tokens
        self.reserved: common_pb2.Money = admission.reserved
        usage = common_pb2.Usage(
            model=request.model,
            input_tokens=request.input_tokens,
            output_tokens=admission.max_output_tokens,
            requests=1,
        )
        self._settlement = admission_pb2.CallSettlement(
            call_id=request.call_id,
            usage=usage,
            attempt=request.attempt if request.HasField("attempt") else None,
            model=request.model,
            buckets=request.buckets,
        )

    @property
    def settlement(self) -> admission_pb2.CallSettlement:
        """What is to be told of it."""
        return self._settlement

    def settle(
        self,
        usage: common_pb2.Usage | Mapping[str, Any] | Any,
        headers: Mapping[str, str] | None = None,
        *,
        cost: common_pb2.Money | None = None,
    ) -> None:
        """Tell what the call has used.

        Args:
            usage: A `Usage`, or the `usage` of the provider's answer, in Anthropic's or OpenAI's
                form, as an object or as a mapping.
            headers: The headers of the provider's answer.
            cost: What it has cost, where the provider says so.

        Raises:
            ValueError: where `usage` counts no tokens. The call then stays at its estimate.
        """
        self._settlement.usage.CopyFrom(usage_of(usage, self._settlement.model))
        if cost is not None:
            self._settlement.actual.CopyFrom(cost)
        self._take_headers(headers)

    def refused(
        self, headers: Mapping[str, str] | None = None, status_code: int = TOO_MANY_REQUESTS
    ) -> None:
        """Tell that the provider has refused the call: nothing was used."""
        self._settlement.ClearField("usage")
        self._settlement.status_code = status_code
        self._take_headers(headers)

    def give_back(self) -> None:
        """Tell that the call was not made."""
        self._settlement.ClearField("usage")

    def note(self, error: BaseException) -> None:
        """Note with what the call has ended: a provider that is too busy has refused it."""
        status_code, headers = answer_of(error)
        if status_code in BUSY:
            self.refused(headers, status_code)

    def _take_headers(self, headers: Mapping[str, str] | None) -> None:
        wanted = {name.lower(): value for name, value in (headers or {}).items()}
        self._settlement.headers.update(
            {name: value for name, value in wanted.items() if "ratelimit" in name}
        )
        self._settlement.headers.update(
            {name: value for name, value in wanted.items() if name.startswith("retry-after")}
        )


def is_busy(error: BaseException) -> bool:
    """Tell whether an error is a provider's word that it is too busy, as status 429."""
    return answer_of(error)[0] in BUSY


def answer_of(error: BaseException) -> tuple[int, Mapping[str, str]]:
    """Return status and headers of the answer that an HTTP client's error tells of; 0 for none.

    The errors of `anthropic`, `openai`, `httpx`, `requests` and `aiohttp` have them.
    """
    response: Any = getattr(error, "response", None)
    for source in (error, response):
        for name in ("status_code", "status"):
            status = getattr(source, name, None)
            if isinstance(status, int):
                headers = getattr(response, "headers", None) or getattr(error, "headers", None)
                return status, headers or {}
    return 0, {}


def usage_of(usage: Any, model: str) -> common_pb2.Usage:
    """Return what was used, from a provider's own form of it.

    Raises:
        ValueError: where it counts no tokens: such a call would be free.
    """
    if isinstance(usage, common_pb2.Usage):
        found = common_pb2.Usage()
        found.CopyFrom(usage)
        found.model = usage.model or model
        return found

    def count(*names: str) -> int:
        return next(_counts(usage, names), 0)

    if next(_counts(usage, (*_INPUT, *_OUTPUT)), None) is None:
        raise ValueError(
            f"no count of tokens in {usage!r:.200}: give the `usage` of the provider's answer, with"
            " input_tokens and output_tokens (or prompt_tokens and completion_tokens)"
        )
    # OpenAI counts what was read from a cache as input, too; Anthropic does not.
    details = _value(usage, "prompt_tokens_details") or _value(usage, "input_tokens_details")
    cached = _value(details, "cached_tokens") or 0
    return common_pb2.Usage(
        model=model,
        input_tokens=max(0, count(*_INPUT) - cached),
        output_tokens=count(*_OUTPUT),
        cache_read_tokens=cached or count("cache_read_input_tokens", "cache_read_tokens"),
        cache_write_tokens=count("cache_creation_input_tokens", "cache_write_tokens"),
        requests=1,
    )


def granted(
    response: admission_pb2.AdmitResponse, *, last: bool
) -> admission_pb2.CallAdmission | None:
    """Return what was admitted; None where it is to be asked again.

    Args:
        response: What was decided.
        last: Whether it is not to be asked again.

    Raises:
        CoordError: FAILED_PRECONDITION, with the reason for which it is refused;
            RESOURCE_EXHAUSTED where it still waits.
    """
    if response.HasField("admission"):
        return response.admission
    code, reason = grpc.StatusCode.FAILED_PRECONDITION, response.refusal
    retry_after_ns = None
    if response.HasField("wait"):
        code, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, response.wait.reason
        retry_after_ns = duration_ns(response.wait.retry_after)
        if not last:
            return None
    raise CoordError(code, reason.code, reason.message, dict(reason.metadata), retry_after_ns)


def not_made(request: admission_pb2.CallRequest) -> admission_pb2.CallSettlement:
    """Return the word that a call is not made after all."""
    return admission_pb2.CallSettlement(
        call_id=request.call_id,
        attempt=request.attempt if request.HasField("attempt") else None,
        model=request.model,
    )


def _counts(usage: Any, names: Iterable[str]) -> Iterator[int]:
    values = (_value(usage, name) for name in names)
    return (value for value in values if isinstance(value, int) and value >= 0)


def _value(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
