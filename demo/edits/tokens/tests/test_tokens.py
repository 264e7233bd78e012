from unittest import TestCase

from textkit.tokens import tokens


class TokensTest(TestCase):
    def test_case_does_not_matter(self) -> None:
        assert tokens("The the THE") == ["the"] * 3
