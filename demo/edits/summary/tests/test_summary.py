from unittest import TestCase

from textkit.summary import summary


class SummaryTest(TestCase):
    def test_it_says_what_and_how_hard(self) -> None:
        assert summary("The ship sails.") == "about     sails, ship\nhardness  3.0"
