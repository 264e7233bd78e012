"""A text at a glance."""

from textkit.keywords import keywords
from textkit.readability import words_per_sentence
from textkit.table import table


def summary(text: str) -> str:
    """Return what a text is about, and how hard it is to read."""
    rows = [("about", ", ".join(keywords(text))), ("hardness", words_per_sentence(text))]
    return table(rows)
