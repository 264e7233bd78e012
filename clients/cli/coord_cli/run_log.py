"""The log of the services that `coord run` has in its own process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import structlog
from coord.log_file import log_file

_LOG_BYTES_MAX = 8 * 2**20


@contextlib.contextmanager
def logs_to(path: Path) -> Iterator[None]:
    """Keep the services' logs out of the view, in a file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab", buffering=0) as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(log_file(file)),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.reset_defaults()
