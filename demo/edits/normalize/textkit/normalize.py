"""One form for texts that mean the same."""

import unicodedata


def normalize(text: str) -> str:
    """Return a text in composed form, lower case, with single spaces."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join(composed.casefold().split())
