from unittest import TestCase

from textkit.slugs import slug


class SlugsTest(TestCase):
    def test_only_letters_digits_and_hyphens_are_left(self) -> None:
        assert slug(" Hello, World! (2) ") == "hello-world-2"
