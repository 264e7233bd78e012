"""Channels to Coord's services."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

MESSAGE_BYTES_MAX = 8 * 2**20

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A connection that carries nothing any more is known before a worker's grace is over.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This is how long one attempt may take: a busy server answers late.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A proxy of the environment is for the agents' calls, not for a service beside us.
    ("grpc.enable_http_proxy", 0),
)


def connect(address: str, token: str) -> grpc.aio.Channel:
    """Return a channel on which every call carries `token`.

    Args:
        address: `host:port` or `unix:/path`.
        token: The caller's token; see common.proto.
    """
    return TokenChannel(grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS), token)


class TokenChannel(grpc.aio.Channel):
    """A channel that adds a token to every call.

    A wrapper and not an interceptor: `grpc.aio` runs a task for each intercepted call.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._authorization = ("authorization", f"Bearer {token}")

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a callable for one message each way."""
        return self._authorized(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a callable for one message there and many back."""
        return self._authorized(self._channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a callable for many messages there and one back."""
        return self._authorized_stream(self._channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a callable for many messages each way."""
        return self._authorized_stream(self._channel.stream_stream(*args, **kwargs))

    def _authorized(self, call: Callable[..., Any]) -> Callable[..., Any]:
        own = self._authorization

        def start(request: Any, *, metadata: Any = (), **kwargs: Any) -> Any:
            return call(request, metadata=(own, *metadata), **kwargs)

        return start

    def _authorized_stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        own = self._authorization

        def start(requests: Any = None, *, metadata: Any = (), **kwargs: Any) -> Any:
            return call(requests, metadata=(own, *metadata), **kwargs)

        return start

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, after at most `grace` seconds for calls under way."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return whether the channel is connected."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state differs from `last_observed_state`."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
