"""Pictures of how often words occur."""

from textkit.counts import counts, top
from textkit.table import table


def histogram(text: str, number: int = 3) -> str:
    """Return the most frequent words, each with a bar."""
    found = counts(text)
    return table((word, bar(found[word])) for word in top(text, number))


def bar(length: int) -> str:
    """Return a bar of that length."""
    return "#" * length
