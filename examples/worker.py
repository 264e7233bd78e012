"""A worker of your own: runs each task's prompt as a shell command.

eval "$(coord token mine)" && python examples/worker.py
"""

import coord

worker = coord.Worker(capabilities=["shell"])


@worker.handler
async def work(task: coord.Task) -> str:
    """Run the prompt in the task's worktree, while no other task uses the database."""
    async with task.claim(names=["database"]):
        task.progress("runs the command")
        status = await task.run("/bin/sh", "-c", task.prompt)
    if status:
        raise coord.TaskFailed(f"the command exited with status {status}")
    return "the command went well"


worker.run()
