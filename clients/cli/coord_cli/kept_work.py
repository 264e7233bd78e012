"""Where the work of attempts is kept that have not landed."""

from collections.abc import Mapping
from pathlib import Path

from coord.v1 import queue_pb2

from coord_cli.git import git

LEFT_BEHIND = "-left"
_WIP = "refs/coord/wip"


def kept_work(repo: Path | None) -> Mapping[tuple[str, int], str]:
    """Return the newest ref that keeps an attempt's work, by worker and fencing token.

    A ref of what an attempt has merely staged or taken back counts where there is no other.
    """
    form = ("--format=%(refname)", "--sort=committerdate")
    refs = git(repo, "for-each-ref", *form, _WIP).splitlines() if repo is not None else []
    found = {}
    for ref in sorted(refs, key=lambda ref: not ref.endswith(LEFT_BEHIND)):
        worker, _, name = ref.removeprefix(f"{_WIP}/").partition("/")
        token = name.partition("-")[0]
        if token.isdecimal():
            found[worker, int(token)] = ref
    return found


def kept_ref(kept: Mapping[tuple[str, int], str], attempt: queue_pb2.Attempt) -> str:
    """Return the ref that keeps an attempt's work; empty where nothing of it is kept."""
    return kept.get((attempt.worker, attempt.fencing_token), "")
