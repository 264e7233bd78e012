"""What `coord doctor` looks for in the merge queue: changes that wait."""

from coord.v1 import integrator_pb2
from coord_host import Place

from coord_cli.command import looking
from coord_cli.findings import Finding
from coord_cli.snapshot import MOVING

_PAGE = 1_000
_SHOWN_MAX = 5


async def change_findings(place: Place) -> list[Finding]:
    """Ask the services, or where none run the stores, which changes have not landed yet."""
    async with looking(place) as services:
        request = integrator_pb2.ListChangesRequest(
            project=place.project, page_size=_PAGE, states=MOVING
        )
        answer = await services.integrator.ListChanges(request)
    if not answer.changes:
        return []
    shown = ", ".join(change.attempt.task_id for change in answer.changes[:_SHOWN_MAX])
    more = ", ..." if len(answer.changes) > _SHOWN_MAX else ""
    paused = answer.merge_queue.paused.message
    return [
        Finding(
            f"{len(answer.changes)} in the merge queue, not landed yet: {shown}{more}",
            f"merging is paused: {paused}"
            if paused
            else "they land one by one, while services run",
            "`coord run` or `coord up` goes on with them; `coord task cancel` takes one back",
            wrong=False,
        )
    ]
