"""Words that can be compared."""

from textkit.normalize import normalize
from textkit.words import words


def tokens(text: str) -> list[str]:
    """Return the words of a text in one form."""
    return words(normalize(text))
