"""Serve the limiter alone."""

from coord_runtime.process import serve

from coord_limiter.service import LimiterService

serve(LimiterService)
