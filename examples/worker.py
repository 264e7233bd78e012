"""A worker of your own: runs a command of yours for each task, with its prompt as last argument.

Beside `coord up`: (eval "$(coord token mine)" && python examples/worker.py "$PWD/do-it.sh")
"""

import sys

import coord

worker = coord.Worker(capabilities=["shell"])


@worker.handler
async def work(task: coord.Task) -> str:
    """Run the command in the task's worktree, while no other task uses the database."""
    async with task.claim(names=["database"]):
        task.progress("runs the command")
        status = await task.run(*sys.argv[1:], task.prompt)
    if status:
        raise coord.TaskFailed(f"the command exited with status {status}")
    return "the command went well"


worker.run()
