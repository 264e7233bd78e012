"""What `coord doctor` finds."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that it has found.

    Attributes:
        what: What it is.
        why: Why it matters.
        remedy: What to do, or what `mend` does.
        wrong: Whether it hinders; else it is worth knowing.
        mend: Puts it right and loses nothing; None where that is not for a program to do.
    """

    what: str
    why: str
    remedy: str = ""
    wrong: bool = True
    mend: Callable[[], object] | None = None
