from unittest import TestCase

from textkit.registry import COMMANDS, run


class ShoutTest(TestCase):
    def test_the_command_is_known(self) -> None:
        assert "shout" in COMMANDS

    def test_the_command_answers(self) -> None:
        assert run("shout", "Ship") == "SHIP"
