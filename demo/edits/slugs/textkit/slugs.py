"""Names for addresses."""

import re

from textkit.normalize import normalize

OTHER = re.compile(r"[^a-z0-9]+")


def slug(title: str) -> str:
    """Return a title in a form that fits into an address."""
    return OTHER.sub("-", normalize(title)).strip("-")
