"""Liveness, readiness and metrics."""

from __future__ import annotations

from litestar import Controller, Response, get, head
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST

from api.metrics import Metrics
from api.readiness import Readiness

_METRICS = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""The framework adds how text is encoded: named twice, it is no media type to some scrapers."""


class HealthController(Controller):
    """Open to everyone: they say nothing about any tenant."""

    path = "/"
    tags = ("operations",)
    opt = {"open": True}  # noqa: RUF012 - the framework copies it.

    @get("/health", operation_id="Health", sync_to_thread=False)
    def health(self) -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @get("/ready", operation_id="Ready")
    async def ready(self, state: State) -> dict[str, str]:
        """Say that the database answers, that its schema is this version's, and that the signing key is there."""
        readiness: Readiness = state.readiness
        await readiness.check()
        return {"status": "ready"}

    @head("/health", include_in_schema=False, sync_to_thread=False)
    def health_head(self) -> None:
        """Say so to probes that ask for no body."""

    @head("/ready", include_in_schema=False)
    async def ready_head(self, state: State) -> None:
        """Say so to probes that ask for no body."""
        await self.ready.fn(self, state)

    @get("/metrics", operation_id="ReadMetrics", sync_to_thread=True, media_type="text/plain", media=["text/plain"])
    def metrics(self, state: State) -> Response[bytes]:
        """Return what was measured of requests, in Prometheus' text format."""
        measured: Metrics = state.metrics
        return Response(measured.exposition(), media_type=_METRICS)
