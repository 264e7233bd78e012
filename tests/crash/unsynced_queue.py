"""Serves the queue without syncs to disk: only to show that the traced run notices."""

from functools import partial

from coord_queue.service import QueueService
from coord_runtime import service
from coord_runtime.database import Options
from coord_runtime.process import serve

setattr(service, "Options", partial(Options, synchronous=False))  # noqa: B010 - mypy would rather not.
serve(QueueService)
