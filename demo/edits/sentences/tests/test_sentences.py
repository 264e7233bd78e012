from unittest import TestCase

from textkit.sentences import sentences


class SentencesTest(TestCase):
    def test_a_sentence_ends_with_its_mark(self) -> None:
        assert sentences("Stop! Who is it? Me.") == ["Stop!", "Who is it?", "Me."]

    def test_an_empty_text_has_none(self) -> None:
        assert sentences("  ") == []
