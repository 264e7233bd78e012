from unittest import TestCase

from textkit.normalize import normalize


class NormalizeTest(TestCase):
    def test_spaces_and_case_do_not_matter(self) -> None:
        assert normalize("  Two\n WORDS ") == "two words"

    def test_accents_are_composed(self) -> None:
        assert normalize("e\u0301") == "\u00e9"
