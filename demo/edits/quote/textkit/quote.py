"""Texts of others."""

from textkit.wrap import wrap


def quote(text: str, width: int = 72) -> str:
    """Return a text as mail quotes it."""
    return "\n".join(f"> {line}" for line in wrap(text, width - 2))
