"""Filters such as Git LFS, which change files on their way between the checkout and git.

Coord runs those that the operator names, as his git configuration had them when the integrator was
opened: what an agent writes into the configuration since has no say.
"""

from pathlib import Path

from coord.errors import failed_precondition

from coord_integrator.git import Git, join, split

_LFS = "lfs"


async def filter_options(user: Git, git_folder: Path, listed: str) -> tuple[str, ...]:
    """Return the options with which git runs the listed filters.

    Args:
        user: Runs git in the user's repository.
        git_folder: Its git folder, where Git LFS keeps its objects by default.
        listed: Names of filters, separated by commas.

    Raises:
        CoordError: FAILED_PRECONDITION with reason FILTER_NOT_LISTED where files go through another
            filter that is configured: without it they would land as they are on disk.
    """
    names = {name.strip() for name in listed.split(",")}
    configured = await _settings(user, r"^filter\.")
    others = {_name(key) for key, _ in configured} - names
    if others:
        await _refuse_used(user, others, listed)
    given = [(key, value) for key, value in configured if _name(key) in names]
    if any(_name(key) == _LFS for key, _ in given):
        storage = dict(await _settings(user, r"^lfs\.storage$")).get("lfs.storage", _LFS)
        given.append(("lfs.storage", str(git_folder / storage)))
    return tuple(part for key, value in given for part in ("-c", f"{key}={value}"))


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
