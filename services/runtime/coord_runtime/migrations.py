"""Versions of a schema: scripts that each lead to the next one."""

import sqlite3
from collections.abc import Sequence

from coord.errors import CoordError, unavailable
from coord.times import SECOND


def migrate(sql: sqlite3.Connection, name: str, migrations: Sequence[str]) -> None:
    """Bring a database to the newest version.

    Args:
        sql: The database.
        name: Whose tables: each owner counts its own versions.
        migrations: The scripts, in order.

    Raises:
        CoordError: UNAVAILABLE with reason STORE_FAILED for a version that is not known.
    """
    sql.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions"
        " (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"
    )
    row = sql.execute("SELECT version FROM schema_versions WHERE name = ?", (name,)).fetchone()
    version = row[0] if row else 0
    if version > len(migrations):
        raise store_failed(
            f"the store has schema version {version}, this program knows {len(migrations)}:"
            " it was written by a newer version of Coord; use that one"
        )
    for number, script in enumerate(migrations[version:], version + 1):
        sql.executescript(f"BEGIN; {script}")
        sql.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (name, number))
        sql.execute("COMMIT")


def store_failed(message: str) -> CoordError:
    """Return the error for a store that cannot be used."""
    return unavailable(
        "STORE_FAILED", f"the store cannot be used: {message}", retry_after_ns=SECOND
    )
