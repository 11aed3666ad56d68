"""The API open for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api.door import Door, open_door


@pytest.fixture
def door(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """Two tenants with a customer and a published book each, behind HTTP."""
    yield from open_door(database_url, tmp_path)
