"""Serves the integrator alone."""

from coord_runtime.process import serve

from coord_integrator.service import IntegratorService

serve(IntegratorService)
