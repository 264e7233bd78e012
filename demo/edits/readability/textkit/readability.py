"""How hard a text is to read."""

from textkit.sentences import sentences
from textkit.tokens import tokens


def words_per_sentence(text: str) -> float:
    """Return the mean length of a sentence, in words."""
    return len(tokens(text)) / max(1, len(sentences(text)))
