"""Who a worker is, and where its coordinator listens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ADDRESS, TOKEN = "COORD_ADDRESS", "COORD_TOKEN"
PROJECT, WORKER = "COORD_PROJECT", "COORD_WORKER"
# The project's state folder, for the commands of an agent.
STATE = "COORD_STATE"


@dataclass(frozen=True)
class Identity:
    """Who a worker is, and where its coordinator listens.

    Attributes:
        address: `host:port` or `unix:/path`.
        token: The worker's token, which acts for it alone.
        project: The project.
        worker: Its name.
    """

    address: str
    token: str
    project: str
    worker: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that `coord token` prints. ValueError where one is missing."""
        names = (ADDRESS, TOKEN, PROJECT, WORKER)
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise ValueError(f"set {', '.join(missing)}; `coord token NAME` prints them")
        return cls(*(environment[name] for name in names))
