from unittest import TestCase

from textkit.registry import COMMANDS, run


class WhisperTest(TestCase):
    def test_the_command_is_known(self) -> None:
        assert "whisper" in COMMANDS

    def test_the_command_answers(self) -> None:
        assert run("whisper", "Ship") == "ship"
