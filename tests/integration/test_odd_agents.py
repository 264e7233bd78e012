"""Agents that do what no agent should: what lands, and what becomes of the user's checkout."""

from pathlib import Path

from tests.integration.cli_project import Project
from tests.integration.repositories import git

AGENT = """
case $COORD_TASK_ID in
  branch) git checkout -q -b elsewhere ;;
  detached) git checkout -q --detach; git branch -q -D "$COORD_BRANCH" ;;
  locked) touch "$(git rev-parse --git-dir)/index.lock" ;;
  removed) test $COORD_ATTEMPT = 1 && { git worktree remove --force .; exit 0; } ;;
  gone) test $COORD_ATTEMPT = 1 && { rm -rf "$PWD"; exit 0; } ;;
  idle) exit 0 ;;
  leaks) echo leak >"$CHECKOUT/leak.txt" ;;
esac
echo work >$COORD_TASK_ID.txt
"""
TASKS = ("branch", "detached", "locked", "removed", "gone", "idle", "leaks")


async def test_the_run_goes_on_and_the_checkout_stays_as_it_was(tmp_path: Path) -> None:
    project = Project(tmp_path)
    script = tmp_path / "odd agent.sh"
    script.write_text(f"CHECKOUT='{project.repo}'\n{AGENT}")
    (project.repo / "mine.txt").write_text("not committed\n")
    git(project.repo, "add", "mine.txt")
    index = project.repo / ".git/index"
    before, staged = git(project.repo, "status", "--porcelain"), index.read_bytes()
    plan = project.plan(*(f'id = "{one}"' for one in TASKS))
    status, summary = await project.run_json(plan, agent=f"sh '{script}'")
    tasks = {task["id"]: task for task in summary["tasks"]}
    assert status == 0
    assert git(project.repo, "status", "--porcelain") == before.rstrip() + "\n?? leak.txt"
    assert index.read_bytes() == staged
    assert not {"leak.txt", "mine.txt"} & project.landed()
    assert {f"{one}.txt" for one in TASKS if one != "idle"} <= project.landed()
    assert tasks["idle"]["message"] == "nothing was changed"
    attempts = {one: tasks[one]["attempts"] for one in TASKS}
    assert attempts == dict.fromkeys(TASKS, 1) | {"gone": 2, "removed": 2}


async def test_a_run_whose_agent_cannot_work_ends_at_once_and_uses_up_no_attempt(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    plan = project.plan('id = "a"', 'id = "b"')
    agent = """
        echo '{"reason": "agent_unavailable", "message": "not logged in"}' >$COORD_RESULT_FILE
        exit 1
    """
    status, summary = await project.run_json(plan, "--stuck-after", "0.2", agent=agent)
    assert (status, summary["ending"]) == (1, "stuck")
    assert {task["message"] for task in summary["tasks"]} == {"not logged in"}
    assert {task["state"] for task in summary["tasks"]} == {"PENDING"}
