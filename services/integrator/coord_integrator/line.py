"""The order in which changes are served, and which of them may land only by themselves.

Urgent ones go first. Among the others lower rank does: the time of submission, moved by the ageing
time for each level of priority. So an older change overtakes a more urgent one in the end. What
conflicts with the work of others goes a little later: its landing spoils theirs.
"""

from collections.abc import Iterable, Mapping, Sequence

from coord.guard import matches
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2
from coord_runtime.globs import written_down

PRIORITY_DEFAULT = 100
_CONFLICTS_MAX = 10
_NO_CONFLICTS: Mapping[str, int] = {}


def in_order(
    changes: Iterable[integrator_pb2.Change],
    ageing_ns: int,
    conflicts: Mapping[str, int] = _NO_CONFLICTS,
) -> list[integrator_pb2.Change]:
    """Return changes in the order in which they are to be served.

    Args:
        changes: The changes, in the order in which they were submitted.
        ageing_ns: How much older makes up for one level of priority, in nanoseconds.
        conflicts: With how many others each change conflicts, by its id. Each, up to ten, counts as
            a tenth of a level of priority.
    """

    def rank(change: integrator_pb2.Change) -> tuple[bool, int]:
        met = min(conflicts.get(change.change_id, 0), _CONFLICTS_MAX)
        levels_ns = change.priority * ageing_ns + met * ageing_ns // _CONFLICTS_MAX
        return not change.urgent, timestamp_ns(change.submitted_at) + levels_ns

    return sorted(changes, key=rank)


def is_barrier(paths: Sequence[str], globs: Sequence[str]) -> bool:
    """Tell whether a change of these paths may land only by itself.

    Args:
        paths: What it changes.
        globs: In gitignore syntax, what concerns all other changes, too.
    """
    written = [written_down(glob) for glob in globs]
    return any(matches(glob, path.split("/")) for path in paths for glob in written)
