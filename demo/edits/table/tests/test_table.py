from unittest import TestCase

from textkit.table import table


class TableTest(TestCase):
    def test_values_are_below_one_another(self) -> None:
        assert table([("a", 1), ("long", 2)]) == "a     1\nlong  2"

    def test_no_rows_make_no_table(self) -> None:
        assert table([]) == ""
