from unittest import TestCase

from textkit.stopwords import is_stopword


class StopwordsTest(TestCase):
    def test_articles_say_little(self) -> None:
        assert is_stopword("The")

    def test_nouns_say_something(self) -> None:
        assert not is_stopword("harbour")
