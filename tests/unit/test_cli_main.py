"""The `coord` command, before one of its commands has begun."""

import pkgutil

import pytest
from click.testing import CliRunner
from coord_cli.main import main


def test_an_interrupt_while_a_command_is_imported_ends_with_130_and_without_more_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pkgutil, "resolve_name", interrupt)
    result = CliRunner().invoke(main, ["status"])
    assert (result.exit_code, result.output) == (130, "")
