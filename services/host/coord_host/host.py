"""The host: all services in this process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from coord.errors import failed_precondition
from coord.room import full_disk
from coord_coordinator.service import CoordinatorService
from coord_integrator.service import IntegratorService
from coord_ledger.service import LedgerService
from coord_ledger.sqlite import capped_scopes
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService
from coord_runtime.locks import FolderLock
from coord_runtime.node import Node, NodePlan
from coord_runtime.service import Service

from coord_host.attach import SHARED, Operator, shared_mints
from coord_host.endpoint import Endpoint, find, last_overrides, publish
from coord_host.overrides import Overrides, account_of, merged
from coord_host.places import Place
from coord_host.ports import addresses

_SERVICES: tuple[type[Service], ...] = (
    QueueService,
    LimiterService,
    LedgerService,
    IntegratorService,
    CoordinatorService,
)
# Of the scopes with caps, so many are named in an error.
_NAMED_MAX = 3


class Embedded(Operator):
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
        _check_caps(place, overrides)
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
        if not idle:
            # Workers know the coordinator's address.
            plan.address = addresses(place, [CoordinatorService.NAME])[CoordinatorService.NAME]
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


def _check_caps(place: Place, overrides: Overrides) -> None:
    """Refuse an account where the project has caps of its own: they would silently not hold."""
    left = capped_scopes(place.state / LedgerService.NAME) if account_of(overrides) else []
    if left:
        scopes = ", ".join(left[:_NAMED_MAX]) + (", ..." if len(left) > _NAMED_MAX else "")
        raise failed_precondition(
            "CAPS_LEFT_BEHIND",
            f"with --account the project's own caps would not hold, which are on {scopes}: start "
            "`coord up` without it and take them away (`coord cost budget SCOPE none`); then set "
            "them anew with the account",
        )


def services_of(place: Place) -> list[type[Service]]:
    """Return the services of a project; without a repository there is nothing to integrate.

    The coordinator is the last: while it drains, it needs the others.
    """
    if place.shares:
        return [one for one in _SERVICES if one.NAME in SHARED]
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
