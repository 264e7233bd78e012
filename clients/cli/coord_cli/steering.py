"""`coord stop`, `coord resume` and `coord strategy`: how everything goes on, or does not."""

import click
from coord.v1 import coordinator_pb2
from coord_coordinator.strategies import STRATEGIES
from coord_host.places import Place

from coord_cli.command import json_option, looking, place_options, run_async
from coord_cli.merge import landing_line
from coord_cli.output import as_dict, print_json


@click.command()
@place_options
@click.option("--message", default="", help="Why.")
@json_option
def stop(*, place: Place, message: str, as_json: bool) -> None:
    """Halt everything until `coord resume`: agents end, their work is saved, nothing lands."""

    async def body() -> None:
        async with looking(place) as services:
            request = coordinator_pb2.StopProjectRequest(project=place.project, message=message)
            answer = await services.coordinator.StopProject(request)
        if as_json:
            print_json(as_dict(answer))
            return
        tasks = ", ".join(attempt.task_id for attempt in answer.attempts)
        saved = f"; saved and waiting: {tasks}" if tasks else ""
        click.echo(f"nothing begins or lands until `coord resume`{saved}")

    run_async(body)


@click.command()
@place_options
@json_option
def resume(*, place: Place, as_json: bool) -> None:
    """Let everything go on after `coord stop`."""

    async def body() -> None:
        async with looking(place) as services:
            request = coordinator_pb2.ResumeProjectRequest(project=place.project)
            answer = await services.coordinator.ResumeProject(request)
            lands = await landing_line(services)
        if as_json:
            print_json(as_dict(answer))
        else:
            click.echo(f"tasks begin again, and {lands}")

    run_async(body)


@click.command()
@click.argument("name", type=click.Choice(sorted(STRATEGIES)), required=False)
@place_options
@json_option
def strategy(*, name: str | None, place: Place, as_json: bool) -> None:
    """Choose who gets tasks from now on; without a NAME, tell how it is done."""

    async def body() -> None:
        async with looking(place) as services:
            asked = coordinator_pb2.GetStatusRequest(project=place.project)
            previous = (await services.coordinator.GetStatus(asked)).strategy
            if name is not None:
                request = coordinator_pb2.SetStrategyRequest(project=place.project, strategy=name)
                await services.coordinator.SetStrategy(request)
        if as_json:
            print_json({"strategy": name or previous, "previous": previous})
        elif name is None:
            click.echo(previous)
        else:
            click.echo(f"tasks are given by {name} from now on, before by {previous}")

    run_async(body)
