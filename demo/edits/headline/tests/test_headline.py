from unittest import TestCase

from textkit.headline import address, headline


class HeadlineTest(TestCase):
    def test_a_title_says_what_a_text_is_about(self) -> None:
        assert headline("The ship and the sea") == "Sea Ship"

    def test_an_address_follows_from_it(self) -> None:
        assert address("The ship and the sea") == "sea-ship"
