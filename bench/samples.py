"""What the clients of both sides send."""

from coord.times import SECOND, duration
from coord.v1 import queue_pb2

PROMPT = "Add a function that parses the header, and a test for each of its errors. " * 4


def spec(task_id: str) -> queue_pb2.TaskSpec:
    """Return a task as plans have them, with a prompt of about 300 bytes."""
    return queue_pb2.TaskSpec(
        id=task_id,
        title="Parse the header",
        prompt=PROMPT,
        category="code",
        paths=["src/header.py", "tests/test_header.py"],
        timeout=duration(600 * SECOND),
        labels={"run": "r-1"},
    )
