"""The order in which changes are served, and which of them may land only by themselves.

Urgent ones go first. Among the others lower rank does: the time of submission, moved by the ageing
time for each level of priority. So an older change overtakes a more urgent one in the end.
"""

from collections.abc import Iterable, Sequence

from coord.guard import matches
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2
from coord_runtime.globs import written_down

PRIORITY_DEFAULT = 100


def in_order(
    changes: Iterable[integrator_pb2.Change], ageing_ns: int
) -> list[integrator_pb2.Change]:
    """Return changes in the order in which they are to be served.

    Args:
        changes: The changes, in the order in which they were submitted.
        ageing_ns: How much older makes up for one level of priority, in nanoseconds.
    """

    def rank(change: integrator_pb2.Change) -> tuple[bool, int]:
        return not change.urgent, timestamp_ns(change.submitted_at) + change.priority * ageing_ns

    return sorted(changes, key=rank)


def is_barrier(paths: Sequence[str], globs: Sequence[str]) -> bool:
    """Tell whether a change of these paths may land only by itself.

    Args:
        paths: What it changes.
        globs: In gitignore syntax, what concerns all other changes, too.
    """
    written = [written_down(glob) for glob in globs]
    return any(matches(glob, path.split("/")) for path in paths for glob in written)
