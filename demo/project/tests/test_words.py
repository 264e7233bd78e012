from unittest import TestCase

from textkit.words import words


class WordsTest(TestCase):
    def test_words_come_in_order(self) -> None:
        assert words("one two, three") == ["one", "two", "three"]

    def test_hyphens_hold_a_word_together(self) -> None:
        assert words("a well-kept text") == ["a", "well-kept", "text"]
