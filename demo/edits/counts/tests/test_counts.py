from unittest import TestCase

from textkit.counts import counts, top


class CountsTest(TestCase):
    def test_words_are_counted_in_any_case(self) -> None:
        assert counts("Tea and tea") == {"tea": 2, "and": 1}

    def test_ties_go_by_the_alphabet(self) -> None:
        assert top("b a c a", 2) == ["a", "b"]
