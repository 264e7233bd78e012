"""Titles for texts that have none."""

from textkit.keywords import keywords
from textkit.slugs import slug


def headline(text: str) -> str:
    """Return a title made of what a text is about."""
    return " ".join(word.capitalize() for word in keywords(text))


def address(text: str) -> str:
    """Return an address for a text."""
    return slug(headline(text))
