from unittest import TestCase

from textkit.words import words


class StrictTest(TestCase):
    def test_numbers_are_no_words(self) -> None:
        assert words("7 ships, 8 sails") == ["ships", "sails"]
