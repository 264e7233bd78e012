"""Plain tables."""

from collections.abc import Iterable


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Return rows of a name and a value, the values below one another."""
    pairs = [(name, str(value)) for name, value in rows]
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)
