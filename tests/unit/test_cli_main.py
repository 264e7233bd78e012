"""The `coord` command, before one of its commands has begun."""

import pkgutil

import pytest
from click.testing import CliRunner
from coord_cli.main import main


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("stauts", "status"),
        ("task sow", "show"),
        ("claims relase", "release"),
        ("run --dry", "--dry-run"),
    ],
)
def test_a_mistyped_command_or_option_is_told_with_what_is_like_it(
    mistyped: str, meant: str
) -> None:
    result = CliRunner().invoke(main, mistyped.split())
    assert result.exit_code == 2
    assert f"'{meant}'" in result.output


def test_an_interrupt_while_a_command_is_imported_ends_with_130_and_without_more_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pkgutil, "resolve_name", interrupt)
    result = CliRunner().invoke(main, ["status"])
    assert (result.exit_code, result.output) == (130, "")
