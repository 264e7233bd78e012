"""Names of branches, refs and folders, made from ids.

A task's id may hold characters that git forbids in refs or that would make folders, so each such
character becomes `%` and two hexadecimal digits. `%` is in no id: two ids never get one name.
"""

import hashlib
import re
from collections.abc import Iterable

OWN_BRANCHES = "coord/"
WIP = "refs/coord/wip"
HEADS = "refs/coord/heads"
# The newest commit on its way to the target: held, so that no `gc` takes it before it lands.
LANDING = "refs/coord/landing"

# Ends the refs of what was staged or taken back: those are no snapshots.
LEFT = "-left"

# A file system takes 255 bytes for a name; git adds `.lock`.
_LENGTH_MAX = 200
_ESCAPED = re.compile(r"[^A-Za-z0-9_@+.-]|^\.|\.$|\.(?=\.)|\.(?=lock$)")


def component(name: str) -> str:
    """Return an id as one component of a ref or a path, different for different ids."""
    encoded = _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", name)
    if len(encoded) <= _LENGTH_MAX:
        return encoded
    # `%%` is in no encoded name, so a shortened one is no other's.
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{encoded[: _LENGTH_MAX - 40]}%%{digest}"


def branch(worker: str, task_id: str, target: str) -> str:
    """Return the branch of a worker's attempt at a task, without `refs/heads/`.

    Git cannot have both `coord/main` and `coord/main/task`, so a worker that is called like the
    target gets another name here.
    """
    mark = "%" if component(worker) == target.partition("/")[0] else ""
    return f"coord/{component(worker)}{mark}/{component(task_id)}"


def spare_branch(usual: str, token: int) -> str:
    """Return the branch to take where another checkout has the attempt's usual one."""
    return f"{usual}%{token}"


def wip_ref(worker: str, token: int, commit: str) -> str:
    """Return the ref that keeps `commit`; no two commits share one."""
    return f"{WIP}/{component(worker)}/{token}-{commit[:16]}"


def left_ref(worker: str, token: int, commit: str) -> str:
    """Return the ref that keeps what an attempt has staged or taken back."""
    return f"{wip_ref(worker, token, commit)}{LEFT}"


def foreign_ref(target: str, commit: str) -> str:
    """Return the ref that keeps what somebody else has put on the landing branch of a target."""
    return f"{WIP}/%foreign/{component(target)}-{commit[:16]}"


def change_id(task_id: str, token: int) -> str:
    """Return the id of an attempt's change."""
    return f"{task_id}@{token}"


def landing_branch(target: str) -> str:
    """Return the branch that landings move while a checkout has the target."""
    return f"coord/{target}"


def in_the_way(branches: Iterable[str], target: str) -> list[str]:
    """Return those branches beside which git cannot have the landing branch of a target."""
    landing = landing_branch(target)
    return [
        branch
        for branch in branches
        if landing.startswith(f"{branch}/") or branch.startswith(f"{landing}/")
    ]
