"""The host: all services in this process, or attached to those that run already."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc.aio
from coord.client import connect
from coord.errors import CoordError, failed_precondition
from coord.room import full_disk
from coord_coordinator.service import CoordinatorService
from coord_integrator.service import IntegratorService
from coord_ledger.service import LedgerService
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService
from coord_runtime.locks import FolderLock
from coord_runtime.node import Node, NodePlan
from coord_runtime.service import Service
from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

from coord_host.endpoint import Endpoint, find, last_overrides, publish
from coord_host.places import Place, locate_account

Overrides = dict[str, dict[str, Any]]

_SERVICES: tuple[type[Service], ...] = (
    QueueService,
    LimiterService,
    LedgerService,
    IntegratorService,
    CoordinatorService,
)
# What a running host was started with, and a newcomer may not silently do without.
_BINDING = (
    ("coordinator", "account"),
    ("integrator", "check"),
    ("integrator", "no_check"),
    ("integrator", "target"),
)
# Of an account, what projects share.
_SHARED: tuple[type[Service], ...] = (LimiterService, LedgerService)


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


class _Operator:
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
        address = self.addresses[service]
        if address not in self._channels:
            mint = self._mints.get(service, self._mint)
            operator = Principal(Kind.OPERATOR, "operator", self.place.project)
            self._channels[address] = connect(address, mint.mint(operator))
        return self._channels[address]

    def mint_worker(self, name: str) -> str:
        return self._mint.mint(Principal(Kind.WORKER, name, self.place.project))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


class Attached(_Operator):
    """Services that run elsewhere."""

    embedded = False

    async def drain(self, deadline_s: float) -> None:
        """Do nothing: the services are not ours to end."""


class Embedded(_Operator):
    """Services that run in this process."""

    embedded = True

    def __init__(self, place: Place, node: Node, endpoint: Endpoint) -> None:
        super().__init__(place, endpoint)
        self.endpoint = endpoint
        self._node = node

    async def drain(self, deadline_s: float) -> None:
        """Let the services finish what would be lost."""
        await self._node.drain(deadline_s)


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
            async with start(place, overrides, idle=idle) as host:
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


@asynccontextmanager
async def start(
    place: Place, overrides: Overrides, *, idle: bool = False
) -> AsyncIterator[Embedded]:
    """Run all services in this process until the exit.

    Args:
        place: The project.
        overrides: Settings by section.
        idle: Only answer, with the settings of the last time below `overrides`, and let nobody else
            attach.
    """
    if not idle:
        _check_room(place.state)
    lock = FolderLock(place.state / "host")
    try:
        if idle:
            overrides = merged(last_overrides(place), overrides) | {"node": {"metrics": ""}}
        shared = _shared_addresses(overrides)
        plan = NodePlan(
            [one for one in services_of(place) if one.NAME not in shared],
            place.project,
            place.state,
            peers=shared,
            flags=settings_for(place, overrides),
            idle=idle,
        )
        if (account := account_of(overrides)) is not None:
            plan.mints = shared_mints(account)
        node = await Node.start(plan)
        try:
            host = Embedded(place, node, _endpoint(place, node, overrides, shared))
            if not idle:
                publish(place, host.endpoint)
            try:
                yield host
            finally:
                await host.close()
        finally:
            await node.stop()
    finally:
        lock.release()


def _check_room(state: Path) -> None:
    """Refuse a disk that the first commits would fill: nothing that was promised could be kept."""
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    if full := full_disk(there):
        raise failed_precondition("DISK_FULL", f"{full}, or name another folder with --state")


def services_of(place: Place) -> list[type[Service]]:
    """Return the services of a project; without a repository there is nothing to integrate.

    The coordinator is the last: while it drains, it needs the others.
    """
    if place.shares:
        return list(_SHARED)
    return [one for one in _SERVICES if place.repo is not None or one is not IntegratorService]


def settings_for(place: Place, overrides: Overrides) -> Overrides:
    """Return the settings of a host: what follows from its place, then what was asked for."""
    has_repository = place.repo is not None
    flags: Overrides = {
        "coordinator": {"repository": has_repository},
        "queue": {"repository": has_repository},
    }
    if place.repo is not None:
        flags["integrator"] = {"repo": str(place.repo)}
    if place.shares:
        # One that stays the same, so that projects find it again after a restart.
        flags["node"] = {"listen": f"unix:{place.state / 'socket'}"}
    for section, values in overrides.items():
        flags[section] = flags.get(section, {}) | values
    return flags


def account_of(overrides: Overrides) -> Place | None:
    """Return the account that settings name, if they do."""
    name = overrides.get("coordinator", {}).get("account")
    return locate_account(name) if name else None


def shared_mints(account: Place) -> dict[str, TokenMint]:
    """Return what signs tokens for the services of an account."""
    mint = TokenMint(load_key(account.state / "token.key"))
    return {service.NAME: mint for service in _SHARED}


def _shared_addresses(overrides: Overrides) -> dict[str, str]:
    """Return where the services of the account are, if there is one.

    Raises:
        CoordError: FAILED_PRECONDITION with reason ACCOUNT_NOT_SERVED.
    """
    account = account_of(overrides)
    if account is None:
        return {}
    endpoint = find(account)
    if endpoint is None:
        name = account.state.name
        raise failed_precondition(
            "ACCOUNT_NOT_SERVED",
            f"the account {name} is not served; start `coord account {name}` and leave it running",
        )
    return endpoint.addresses


def _endpoint(place: Place, node: Node, overrides: Overrides, shared: dict[str, str]) -> Endpoint:
    names = [service.NAME for service in services_of(place)]
    return Endpoint(
        pid=os.getpid(),
        addresses=dict.fromkeys(names, node.address) | shared,
        metrics=dict.fromkeys(names, node.metrics_address),
        overrides=overrides,
    )


def check_same(endpoint: Endpoint, overrides: Overrides) -> None:
    """Refuse what running services were not started with.

    Raises:
        CoordError: FAILED_PRECONDITION with reason RUNNING_OTHERWISE.
    """
    for key, running, wanted in differences(endpoint.overrides, overrides):
        raise failed_precondition(
            "RUNNING_OTHERWISE",
            f"the running services (process {endpoint.pid}) have {key} = {running!r}, not"
            f" {wanted!r}; end them first, or leave --{key.replace('_', '-')} as it is",
        )


def merged(there: Overrides, asked: Overrides) -> Overrides:
    """Return the settings that were there, with those that were asked for on top."""
    sections = {*there, *asked}
    return {name: there.get(name, {}) | asked.get(name, {}) for name in sections}


def differences(there: Overrides, asked: Overrides) -> list[tuple[str, Any, Any]]:
    """Return which of the settings that bind were asked for otherwise: key, value there, asked."""
    values = [
        (key, there.get(section, {}).get(key), asked.get(section, {}).get(key))
        for section, key in _BINDING
    ]
    return [one for one in values if one[2] is not None and one[1] != one[2]]
