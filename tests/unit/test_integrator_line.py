"""Who is served first, and who lands alone."""

import pytest
from coord.times import SECOND, timestamp
from coord.v1 import integrator_pb2
from coord_integrator.line import in_order, is_barrier
from coord_integrator.settings import IntegratorSettings


def change(
    name: str, at_s: int, priority: int = 100, *, urgent: bool = False
) -> integrator_pb2.Change:
    submitted = timestamp(at_s * SECOND)
    return integrator_pb2.Change(
        change_id=name, submitted_at=submitted, priority=priority, urgent=urgent
    )


def test_the_more_urgent_goes_first_until_the_older_has_waited_for_long() -> None:
    line = [
        change("old", 0),
        change("usual", 100),
        change("soon", 120, priority=99),
        change("later", 400, priority=99),
        change("now", 500, priority=200, urgent=True),
    ]
    ordered = [one.change_id for one in in_order(line, 60 * SECOND)]
    assert ordered == ["now", "old", "soon", "usual", "later"]


@pytest.mark.parametrize(
    ("path", "barrier"),
    [
        ("uv.lock", True),
        ("apps/web/yarn.lock", True),
        (".github/workflows/ci.yml", True),
        ("docs/.github/workflows/ci.yml", False),
        ("a.txt", False),
        ("go.summary", False),
    ],
)
def test_lock_files_and_the_configuration_of_checks_concern_all(
    path: str, *, barrier: bool
) -> None:
    globs = IntegratorSettings.model_fields["barriers"].default.split(",")
    assert is_barrier([path], globs) == barrier
