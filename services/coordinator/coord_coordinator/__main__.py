"""Serves the coordinator alone."""

from coord_runtime.process import serve

from coord_coordinator.service import CoordinatorService

serve(CoordinatorService)
