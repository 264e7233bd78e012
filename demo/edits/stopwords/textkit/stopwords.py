"""Words that say little."""

STOPWORDS = frozenset(
    ["a", "an", "and", "as", "at", "for", "in", "is", "it", "of", "or", "the", "to"]
)


def is_stopword(word: str) -> bool:
    """Return whether a word says little by itself."""
    return word.lower() in STOPWORDS
