"""`coord init`: proposes how to work on a repository, and writes a first plan."""

import fnmatch
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
from coord_host.places import Place

from coord_cli.command import UsageProblem, friendly_errors, json_option, place_options
from coord_cli.git import git, git_items
from coord_cli.output import print_json
from coord_cli.proposals import Proposal, propose

INCLUDE, PLAN = ".worktreeinclude", "plan.toml"
# Ignored files that programs do not run without, and that no build makes again.
_NEEDED = (".env", ".env.*", ".envrc", ".npmrc", "*.local", "*.local.*", "local.settings.json")
_INCLUDE_HEAD = "# Ignored files that Coord copies into each worktree. Syntax as in .gitignore.\n"
_PLAN_TEXT = """\
# What is to be done. `coord plan check plan.toml` tells what is wrong with it. A task may also
# have prompt_file, deps, priority, category, capabilities, paths, retries, labels, expects_change.
[defaults]
timeout = "20m"
# budget = "$0.50"                    # the most that one task may cost

[[tasks]]
id = "example"
title = "An example: say what you want here"
prompt = "Describe the task as you would to a colleague who sees the project for the first time."

# [[tasks]]
# id = "next"
# prompt = "..."
# deps = ["example"]                  # starts from a tree that has it
"""


@dataclass(frozen=True)
class Draft:
    """A file to write."""

    path: Path
    content: str


@click.command()
@place_options
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@json_option
def init(*, place: Place, dry_run: bool, as_json: bool) -> None:
    """Look at a repository, and write a sample plan and what its worktrees need.

    Writes new files only: what is there stays as it is.
    """
    with friendly_errors():
        top = _checkout(place)
        proposal, drafts = propose(top), _drafts(top)
        new = [draft for draft in drafts if not draft.path.exists()]
        if not dry_run:
            for draft in new:
                with draft.path.open("x") as file:
                    file.write(draft.content)
    command = _next_command(place, proposal)
    if as_json:
        print_json(_as_dict(drafts, new, proposal, command))
    else:
        needs_commit = not git(top, "rev-parse", "--verify", "--quiet", "HEAD")
        _tell(drafts, new, proposal, command, needs_commit=needs_commit, dry_run=dry_run)


def _checkout(place: Place) -> Path:
    if place.repo is None or git(place.repo, "rev-parse", "--is-bare-repository") == "true":
        raise UsageProblem("a bare repository has no files to look at; name a checkout with --repo")
    return place.repo


def _drafts(top: Path) -> list[Draft]:
    needed = _needed(top)
    include = [Draft(top / INCLUDE, _INCLUDE_HEAD + "".join(f"/{name}\n" for name in needed))]
    return [Draft(top / PLAN, _PLAN_TEXT), *(include if needed else [])]


def _needed(top: Path) -> list[str]:
    """Return the ignored files of a checkout that its worktrees will miss."""
    listing = ("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory")
    ignored = [path for path in git_items(top, *listing) if not path.endswith("/")]
    return [path for path in ignored if _is_needed(Path(path).name)]


def _is_needed(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in _NEEDED)


def _next_command(place: Place, proposal: Proposal | None) -> str:
    words = ["coord", "run", PLAN, "--agent", "claude", "--check"]
    words.append(proposal.check if proposal else "YOUR TEST COMMAND")
    if proposal and proposal.setup:
        words += ["--setup", proposal.setup]
    if place.repo is not None and place.repo != Path.cwd():
        words[2] = str(place.repo / PLAN)
        words += ["--repo", str(place.repo)]
    return shlex.join(words)


def _as_dict(
    drafts: list[Draft], new: list[Draft], proposal: Proposal | None, command: str
) -> dict[str, object]:
    return {
        "written": [str(draft.path) for draft in new],
        "left": [str(draft.path) for draft in drafts if draft not in new],
        "found": proposal.found if proposal else "",
        "check": proposal.check if proposal else "",
        "setup": proposal.setup if proposal else "",
        "next": command,
    }


def _tell(
    drafts: list[Draft],
    new: list[Draft],
    proposal: Proposal | None,
    command: str,
    *,
    needs_commit: bool,
    dry_run: bool,
) -> None:
    for draft in drafts:
        done = "would write" if dry_run else "wrote"
        click.echo(f"{done if draft in new else 'left as it is:'} {draft.path}")
        if dry_run and draft in new:
            click.echo("".join(f"    {line}\n" for line in draft.content.splitlines()), nl=False)
    if proposal is None:
        click.echo("nothing here tells how the project is tested: put your command after --check")
    else:
        click.echo(f"{proposal.found} says how it is tested: {proposal.check}")
    if needs_commit:
        click.echo("there is no commit yet, and worktrees start from one: make a first commit")
    click.echo(f"next, once {PLAN} says what you want (and claude is your agent):\n    {command}")
