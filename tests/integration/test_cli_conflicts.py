"""`coord conflicts`, while services run and when none do."""

import json
from pathlib import Path

from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_cli.command import looking
from coord_host.places import locate

from tests.integration.cli_project import Project
from tests.integrator_rig import until


async def _set_up(project: Project, *workers: str) -> list[Path]:
    """Give each worker a task and a worktree; return the worktrees."""
    folders = []
    async with looking(locate(project.repo, project.folder / "state")) as services:
        name = services.project
        for token, worker in enumerate(workers, 1):
            task = queue_pb2.TaskSpec(id=worker, prompt="x")
            await services.queue.AddTasks(queue_pb2.AddTasksRequest(project=name, tasks=[task]))
            attempt = common_pb2.AttemptRef(task_id=worker, fencing_token=token)
            request = integrator_pb2.SetupWorktreeRequest(
                project=name, worker=worker, attempt=attempt
            )
            answer = await services.integrator.SetupWorktree(request)
            folders.append(Path(answer.worktree.path))
    return folders


async def test_a_task_that_met_a_conflict_is_shown_with_the_beginning_of_its_hunks(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    await project.call("task", "add", "x", "--id", "a")
    detail = "\n".join(["README:", "@@ line 1 @@", "<<<<<<< the target", *("0" * 200,) * 28])
    async with looking(locate(project.repo, tmp_path / "state")) as services:
        name = services.project
        assign = queue_pb2.AssignTasksRequest(project=name, task_ids=["a"], worker="w")
        (result,) = (await services.queue.AssignTasks(assign)).results
        failure = queue_pb2.Failure(
            attempt=common_pb2.AttemptRef(
                task_id="a", fencing_token=result.lease.attempt.fencing_token
            ),
            reason=queue_pb2.FAILURE_REASON_CONFLICT,
            detail=detail,
        )
        await services.queue.FailTasks(
            queue_pb2.FailTasksRequest(project=name, worker="w", failures=[failure])
        )
    lines = (await project.call("task", "show", "a"))[1].splitlines()
    begin = lines.index("the conflict of attempt 1:")
    assert lines[begin + 1 : begin + 4] == [f"  | {line}" for line in detail.splitlines()[:3]]
    assert lines[begin + 30] == f"  | {'0' * 120}..."
    assert lines[begin + 31 :] == ["  1 more line in `detail`, with --json"]


async def test_conflicts_are_printed_as_a_matrix_and_as_json(tmp_path: Path) -> None:
    project = Project(tmp_path)
    async with project.up():
        one, two = await _set_up(project, "w1", "w2")
        assert (await project.call("conflicts"))[0] == 0
        (one / "README").write_text("one\n")
        (two / "README").write_text("two\n")

        async def is_seen() -> bool:
            return (await project.call("conflicts"))[0] == 1

        await until(is_seen)
        told = (await project.call("conflicts"))[1]
        assert "w1 and w2 conflict in README" in told
        assert [line.split() for line in told.splitlines()[1:4]] == [
            ["(target)", "-", ".", "."],
            ["w1", ".", "-", "X"],
            ["w2", ".", "X", "-"],
        ]
    (two / "README").write_text("one\n")
    (one / "more").write_text("more\n")
    status, told = await project.call("conflicts", "--json")
    assert (status, json.loads(told).get("conflicts", [])) == (0, [])
