"""Answers to letters."""

from textkit.headline import headline
from textkit.quote import quote


def answer(letter: str, text: str) -> str:
    """Return an answer to a letter, with its subject and what it said."""
    return f"Re: {headline(letter)}\n\n{quote(letter)}\n\n{text}"
