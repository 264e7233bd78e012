from unittest import TestCase

from textkit.registry import COMMANDS, run


class RegistryTest(TestCase):
    def test_every_command_answers(self) -> None:
        for name in COMMANDS:
            assert run(name, "Some text to work on.")

    def test_an_unknown_command_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "no command 'fly'"):
            run("fly", "")
