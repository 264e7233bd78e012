"""Lines of a limited length."""

import textwrap


def wrap(text: str, width: int = 72) -> list[str]:
    """Return a text in lines of at most `width` characters."""
    return textwrap.wrap(" ".join(text.split()), width)
