"""Filters such as Git LFS, which change files on their way between the checkout and git.

Coord runs those that the operator names, as his git configuration had them when the integrator was
opened: what an agent writes into the configuration since has no say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from coord.errors import failed_precondition

from coord_integrator.git import Git, join, split

_LFS = "lfs"
_EVERY = r"^filter\."
# With these a filter that is configured changes nothing.
_OFF = (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))


@dataclass(frozen=True)
class Filters:
    """The filters that git runs.

    Attributes:
        settings: Their configuration, by key.
    """

    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    async def read(cls, user: Git, git_folder: Path, listed: str) -> Self:
        """Read how the listed filters are configured.

        Args:
            user: Runs git in the user's repository.
            git_folder: Its git folder, where Git LFS keeps its objects by default.
            listed: Names of filters, separated by commas.

        Raises:
            CoordError: FAILED_PRECONDITION with reason FILTER_NOT_LISTED where files go through
                another filter that is configured: without it they would land as they are on disk.
        """
        names = {name.strip() for name in listed.split(",")}
        configured = await _settings(user, _EVERY)
        others = {_name(key) for key, _ in configured} - names
        if others:
            await _refuse_used(user, others, listed)
        given = [(key, value) for key, value in configured if _name(key) in names]
        if any(_name(key) == _LFS for key, _ in given):
            storage = dict(await _settings(user, r"^lfs\.storage$")).get("lfs.storage", _LFS)
            given.append(("lfs.storage", str(git_folder / storage)))
        return cls(tuple(given))

    def run_by(self, git: Git) -> Git:
        """Return a git that runs these, where no others are configured."""
        return _configured(git, self.settings)

    async def only(self, git: Git) -> Git:
        """Return a git that runs these and no others, whatever has been configured meanwhile."""
        names = {_name(key) for key, _ in self.settings}
        now = {_name(key) for key, _ in await _settings(git, _EVERY)}
        off = [(f"filter.{name}.{key}", value) for name in now - names for key, value in _OFF]
        return _configured(git, [*self.settings, *off])


def _configured(git: Git, settings: Sequence[tuple[str, str]]) -> Git:
    """Return a git with settings of its own; as variables, since a name may have any character."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return git.with_variables(**variables)


async def _refuse_used(user: Git, filters: set[str], listed: str) -> None:
    tracked = await user.items("ls-files", "-z")
    answer = await user.run("check-attr", "-z", "--stdin", "filter", stdin=join(tracked))
    # Triples of path, attribute and value.
    used = filters.intersection(split(answer.stdout)[2::3])
    if used:
        every = ",".join([listed, *sorted(used)]).strip(",")
        raise failed_precondition(
            "FILTER_NOT_LISTED",
            f"files here go through the filter {', '.join(sorted(used))} of your git configuration:"
            f" have Coord run it as well with --set integrator.filters={every}",
        )


async def _settings(user: Git, pattern: str) -> list[tuple[str, str]]:
    output = await user.run("config", "-z", "--get-regexp", pattern, ok=(0, 1))
    pairs = (item.partition("\n") for item in split(output.stdout))
    return [(key, value) for key, _, value in pairs]


def _name(key: str) -> str:
    """Return the name in `filter.<name>.<setting>`."""
    return key.removeprefix("filter.").rpartition(".")[0]
