from unittest import TestCase

from textkit.wrap import wrap


class WrapTest(TestCase):
    def test_no_line_is_too_long(self) -> None:
        assert wrap("aa bb cc", 5) == ["aa bb", "cc"]
