"""What one simulated history is made of, drawn from its seed, and smaller ones like it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

# What can go wrong, or be done.
KINDS = (
    "budgets",
    "clashes",
    "claims",
    "clocks",
    "conflicts",
    "crashes",
    "crawl",
    "cuts",
    "delays",
    "drops",
    "failures",
    "flakes",
    "floods",
    "full-disks",
    "lies",
    "limits",
    "messages",
    "operators",
    "partitions",
    "polls",
    "power",
    "red",
    "repeats",
    "stalls",
    "stops",
    "worker-crashes",
)
_STORM_S = (60.0, 120.0, 240.0, 480.0)
_TASKS_MAX, _WORKERS_MAX = 40, 5


@dataclass(frozen=True)
class Plan:
    """One history.

    Attributes:
        seed: Decides everything that is not said here.
        storm_s: How long things go wrong, in seconds of virtual time.
        tasks: How many there are from the operator; some add more.
        workers: How many there are.
        repository: Whether tasks are work on a repository.
        kinds: What goes wrong, of `KINDS`.
    """

    seed: int
    storm_s: float
    tasks: int
    workers: int
    repository: bool
    kinds: frozenset[str]

    @classmethod
    def drawn(cls, seed: int, storm_s: float | None = None) -> "Plan":
        """Return the plan of a seed."""
        chance = Random(f"plan {seed}")
        share = chance.choice([0.3, 0.7, 1.0, 1.0])
        return cls(
            seed,
            chance.choice(_STORM_S) if storm_s is None else storm_s,
            chance.randint(4, _TASKS_MAX),
            chance.randint(1, _WORKERS_MAX),
            chance.random() < 0.75,
            frozenset(kind for kind in KINDS if chance.random() < share),
        )

    @classmethod
    def worst(cls, seed: int) -> "Plan":
        """Return a short plan in which everything goes wrong at once."""
        return cls(seed, 60.0, 20, 4, seed % 4 > 0, frozenset(KINDS))

    def smaller(self) -> Iterator["Plan"]:
        """Yield plans that are a little less than this one."""
        for kind in sorted(self.kinds):
            yield replace(self, kinds=self.kinds - {kind})
        if self.storm_s > 10:
            yield replace(self, storm_s=self.storm_s / 2)
        if self.tasks > 1:
            yield replace(self, tasks=self.tasks // 2)
            yield replace(self, tasks=self.tasks - 1)
        if self.workers > 1:
            yield replace(self, workers=self.workers - 1)

    def command(self) -> str:
        """Return what runs this history again."""
        kinds = ",".join(sorted(self.kinds)) or "none"
        return (
            f"python -m tests.simulation.simulate --histories 1 --seed {self.seed}"
            f" --storm {self.storm_s:g} --tasks {self.tasks} --workers {self.workers}"
            f" --{'' if self.repository else 'no-'}repository --kinds {kinds}"
        )
