"""Liveness and readiness."""

from __future__ import annotations

from litestar import Controller, get
from litestar.datastructures import State
from sqlalchemy import text

from api.services import Services


class HealthController(Controller):
    """Open to everyone: they say nothing about any tenant."""

    path = "/"
    tags = ("operations",)
    opt = {"open": True}  # noqa: RUF012 - the framework copies it.

    @get("/health", operation_id="Health", sync_to_thread=False)
    def health(self) -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @get("/ready", operation_id="Ready", sync_to_thread=True)
    def ready(self, state: State) -> dict[str, str]:
        """Say that the database answers too."""
        services: Services = state.services
        with services.database.reading(services.settings.tenant) as uow:
            uow.connection.execute(text("select 1"))
        return {"status": "ready"}
