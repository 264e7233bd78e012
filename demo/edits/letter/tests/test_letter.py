from unittest import TestCase

from textkit.letter import answer


class LetterTest(TestCase):
    def test_an_answer_quotes_the_letter(self) -> None:
        assert answer("Ship ahoy", "Yes.") == "Re: Ahoy Ship\n\n> Ship ahoy\n\nYes."
