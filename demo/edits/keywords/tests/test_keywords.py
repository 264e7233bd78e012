from unittest import TestCase

from textkit.keywords import keywords


class KeywordsTest(TestCase):
    def test_articles_are_no_keywords(self) -> None:
        assert keywords("The ship and the sea and the ship", 2) == ["ship", "sea"]
