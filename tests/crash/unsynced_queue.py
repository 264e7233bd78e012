"""Serves the queue without syncs to disk: only to show that the traced run notices."""

from functools import partial

from coord_queue.service import QueueService
from coord_runtime import service
from coord_runtime.database import Options
from coord_runtime.process import serve

service.Options = partial(Options, synchronous=False)  # type: ignore[misc, assignment]
serve(QueueService)
