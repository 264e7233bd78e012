"""Serves the queue alone."""

from coord_runtime.process import serve

from coord_queue.service import QueueService

serve(QueueService)
