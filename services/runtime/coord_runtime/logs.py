"""Logs: lines for people on a terminal, JSON elsewhere."""

import io
import logging
import sys

import structlog
from coord.log_file import log_file


def configure(level: str = "info") -> None:
    """Send structlog's events of at least `level` to standard error."""
    on_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )
    errors = [] if on_terminal else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *errors,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(log_file(io.FileIO(2, "wb", closefd=False))),
        cache_logger_on_first_use=False,
    )
