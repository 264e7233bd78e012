"""How often words occur."""

from collections import Counter

from textkit.tokens import tokens


def counts(text: str) -> "Counter[str]":
    """Return how often each word occurs."""
    return Counter(tokens(text))


def top(text: str, number: int = 3) -> list[str]:
    """Return the most frequent words; ties by the alphabet."""
    found = counts(text)
    return sorted(found, key=lambda word: (-found[word], word))[:number]
