"""What a text is about."""

from textkit.counts import counts
from textkit.stopwords import is_stopword


def keywords(text: str, number: int = 3) -> list[str]:
    """Return the most frequent words that say something."""
    found = counts(text)
    telling = [word for word in found if not is_stopword(word)]
    return sorted(telling, key=lambda word: (-found[word], word))[:number]
