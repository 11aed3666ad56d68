"""The API open for one test."""

from __future__ import annotations

from tests.integration.api.conftest import door

__all__ = ["door"]
