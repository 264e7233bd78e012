from unittest import TestCase

from textkit.histogram import histogram


class HistogramTest(TestCase):
    def test_a_bar_is_as_long_as_its_count(self) -> None:
        assert histogram("sea sea ship", 2) == "sea   ##\nship  #"
