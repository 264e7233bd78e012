"""The workers that a command starts: their agents, their names, their pool."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
from coord.times import duration, from_seconds
from coord.v1 import coordinator_pb2
from coord_host.places import Place
from coord_worker.agents import PRESETS
from coord_worker.config import WorkerConfig
from coord_worker.names import claim
from coord_worker.pool import PoolSettings, WorkerPool, worker_names
from coord_worker.presets.arguments import has_flag

from coord_cli.agent_check import WorktreeStart, check_agent
from coord_cli.command import Services, UsageProblem
from coord_cli.profiles import Profile

AGENT_HELP = f"A command, or a preset: {', '.join(PRESETS)}."
PROVIDER_HELP = "Whose rate limits the agent is under, such as anthropic."

_PREFIXES = ["", *(f"p{number}-" for number in range(2, 100))]
_CALL_S = 5.0


@dataclass(frozen=True)
class Crew:
    """The workers to start.

    Attributes:
        profiles: A profile for each worker.
        agent: The agent of those whose profile names none.
        agent_args: Further arguments of a preset.
        buckets: Rate limits of which each task takes one request.
        prefix: What their names begin with; None to find one that is free.
        provider: Whose rate limits that agent is under; empty for what its preset knows.
        runs: The runs whose tasks they take; empty for all tasks.
        guard: Folder of the guard's hooks; None to go without.
    """

    profiles: Sequence[Profile]
    agent: str
    agent_args: Sequence[str] = ()
    buckets: Sequence[str] = ()
    prefix: str | None = None
    provider: str = ""
    runs: tuple[str, ...] = ()
    guard: Path | None = None

    def check(self, start: WorktreeStart) -> None:
        """Raise UsageProblem where an agent is missing, before anything is started."""
        if self.guard is not None and has_flag(self.agent_args, "--settings"):
            raise UsageProblem(
                "--guard and --settings among --agent-args exclude one another: the guard's hooks"
                " are settings, too; add them to yours, `coord guard --hooks` shows where they are"
            )
        for profile in self.profiles:
            check_agent(profile.agent or self.agent, self._args(profile), start)

    def config(self, profile: Profile, place: Place) -> WorkerConfig:
        """Return the configuration of a project's worker with a profile."""
        return WorkerConfig(
            folder=work_folder(place),
            agent=profile.agent or self.agent,
            agent_args=self._args(profile),
            provider="" if profile.agent else self.provider,
            profile=profile.name,
            capabilities=tuple(profile.capabilities),
            preferences=profile.preferences,
            buckets=tuple(self.buckets),
            runs=self.runs,
            guard=self.guard,
            state=place.state,
        )

    def _args(self, profile: Profile) -> tuple[str, ...]:
        args = () if profile.agent else tuple(self.agent_args)
        if self.guard is not None and (profile.agent or self.agent) == "claude":
            args += ("--settings", str(self.guard / "claude.json"))
        return args


class Minting(Protocol):
    """Where a crew's tokens come from."""

    addresses: dict[str, str]

    def mint_worker(self, name: str) -> str:
        """Return a token that acts for one worker."""


def work_folder(place: Place) -> Path:
    """Return the folder in which workers keep logs and the files of attempts."""
    return place.state / "workers"


async def make_pool(crew: Crew, place: Place, host: Minting, services: Services) -> WorkerPool:
    """Return the pool of a crew, not started yet, under names that nobody has."""
    names, kept = await _claim_names(crew, work_folder(place), services)
    workers: Mapping[str, WorkerConfig] = {
        name: crew.config(profile, place)
        for name, profile in zip(names, crew.profiles, strict=True)
    }
    settings = PoolSettings(host.addresses["coordinator"], place.project, host.mint_worker)
    return WorkerPool(dict(workers), settings, claim=kept)


async def dismiss(pool: WorkerPool, services: Services, deadline_s: float) -> None:
    """Let a pool's workers go: what they have not finished by the deadline they give back.

    The coordinator is told, and not the workers, so that it gives them nothing new.
    """
    request = coordinator_pb2.DrainWorkersRequest(
        project=services.project,
        workers=list(pool.states),
        deadline=duration(max(from_seconds(deadline_s), 1)),
        message="the command that had started the workers is about to end",
    )
    await services.coordinator.DrainWorkers(request, timeout=_CALL_S)


def tell_given_up(pool: WorkerPool) -> None:
    """Print why workers of a pool were given up."""
    for name, error in pool.errors.items():
        click.echo(f"coord: worker {name} was given up: {error}", err=True)


async def _claim_names(
    crew: Crew, folder: Path, services: Services
) -> tuple[list[str], contextlib.ExitStack]:
    request = coordinator_pb2.ListWorkersRequest(project=services.project)
    listed = await services.coordinator.ListWorkers(request)
    taken = {worker.name for worker in listed.workers if worker.connected}
    for prefix in _PREFIXES if crew.prefix is None else [crew.prefix]:
        names = worker_names([one.name for one in crew.profiles], prefix)
        free = crew.prefix is not None or not taken & set(names)
        # Workers of another command may be on their way and not connected yet.
        kept = claim(folder, names) if free else None
        if kept is not None:
            return names, kept
    raise UsageProblem("workers of these names run already; name another --worker-prefix")
