"""The services of a project, wherever they run: those that run already, or in this process."""

import os
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import grpc.aio
from coord.client import connect
from coord.errors import CoordError
from coord.identity import PROJECT, TOKEN, WORKER
from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

from coord_host.endpoint import Endpoint, find
from coord_host.overrides import Overrides, account_of, check_same
from coord_host.places import Place

# The services, imported only by who serves them: most commands talk to those that run.
_START = "coord_host.host:start"
# Of an account, what projects share.
SHARED = ("limiter", "ledger")


class Host(Protocol):
    """The services of a project, wherever they run.

    Attributes:
        place: The project.
        addresses: Address of each service by name.
        overrides: The settings that they run with, by section.
        embedded: Whether they run in this process.
    """

    place: Place
    addresses: dict[str, str]
    overrides: Overrides
    embedded: bool

    def channel(self, service: str) -> grpc.aio.Channel:
        """Return a channel to a service, with the operator's token."""

    def mint_worker(self, name: str) -> str:
        """Return a token that acts for one worker."""

    async def drain(self, deadline_s: float) -> None:
        """Let the services in this process finish; does nothing to those elsewhere."""


class Operator:
    """Tokens and channels for whoever can read the project's key."""

    def __init__(self, place: Place, endpoint: Endpoint) -> None:
        self.place = place
        self.addresses = endpoint.addresses
        self.overrides = endpoint.overrides
        self._mint = TokenMint(load_key(place.state / "token.key"))
        account = account_of(endpoint.overrides)
        self._mints = {} if account is None else shared_mints(account)
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """Return a channel to a service, with the operator's token or that of an agent's shell."""
        address = self.addresses[service]
        if address not in self._channels:
            self._channels[address] = connect(address, self._token(service))
        return self._channels[address]

    def _token(self, service: str) -> str:
        operator = Principal(Kind.OPERATOR, "operator", self.place.project)
        return self._mints.get(service, self._mint).mint(operator)

    def mint_worker(self, name: str) -> str:
        """Return a token that acts for one worker."""
        return self._mint.mint(Principal(Kind.WORKER, name, self.place.project))

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()


class Attached(Operator):
    """Services that run elsewhere."""

    embedded = False

    async def drain(self, deadline_s: float) -> None:
        """Do nothing: the services are not ours to end."""

    def _token(self, service: str) -> str:
        """Return the worker's token in a worker's shell: what it may do is enough there."""
        return os.environ[TOKEN] if shell_worker(self.place) else super()._token(service)


def shell_worker(place: Place) -> str:
    """Return the worker of the project whose token this shell has; empty where it has none."""
    is_here = os.environ.get(PROJECT) == place.project and os.environ.get(TOKEN)
    return os.environ.get(WORKER, "") if is_here else ""


@asynccontextmanager
async def attach_or_look(place: Place) -> AsyncIterator[Host]:
    """Attach to the project's running services, or have them answer in this process until the exit.

    In this process they only answer: nothing is assigned, landed or ended by them, and a command
    that wants to serve the project waits until the exit.
    """
    async with attach_or_start(place, {}, idle=find(place) is None) as host:
        yield host


@asynccontextmanager
async def attach_or_start(
    place: Place, overrides: Overrides, *, idle: bool = False
) -> AsyncIterator[Host]:
    """Attach to the project's running services, or run them in this process until the exit.

    Raises:
        CoordError: FAILED_PRECONDITION with reason RUNNING_OTHERWISE where services run with other
            settings; whatever hinders a start.
    """
    endpoint = find(place)
    if endpoint is None:
        try:
            async with pkgutil.resolve_name(_START)(place, overrides, idle=idle) as host:
                yield host
                return
        except CoordError as error:
            endpoint = find(place) if error.reason == "FOLDER_LOCKED" else None
            if endpoint is None:
                raise
    check_same(endpoint, overrides)
    attached = Attached(place, endpoint)
    try:
        yield attached
    finally:
        await attached.close()


def shared_mints(account: Place) -> dict[str, TokenMint]:
    """Return what signs tokens for the services of an account."""
    mint = TokenMint(load_key(account.state / "token.key"))
    return dict.fromkeys(SHARED, mint)
