"""Words of a text."""

import re

WORD = re.compile(r"[^\W\d_]+")


def words(text: str) -> list[str]:
    """Return the words of a text, in order."""
    return WORD.findall(text)


def run(text: str) -> str:
    """Answer the command `words`."""
    return " ".join(words(text))
