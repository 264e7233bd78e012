"""Sentences of a text."""

import re

END = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [part for part in END.split(text.strip()) if part]
