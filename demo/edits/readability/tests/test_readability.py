from unittest import TestCase

from textkit.readability import words_per_sentence


class ReadabilityTest(TestCase):
    def test_mean_over_sentences(self) -> None:
        assert words_per_sentence("One. Two.") == 1

    def test_nothing_is_easy_to_read(self) -> None:
        assert words_per_sentence("") == 0
