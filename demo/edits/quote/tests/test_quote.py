from unittest import TestCase

from textkit.quote import quote


class QuoteTest(TestCase):
    def test_every_line_is_marked(self) -> None:
        assert quote("aa bb cc", 7) == "> aa bb\n> cc"
