"""Real data that may lie in a folder beside the project; tests that want it skip where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared_path(*parts: str) -> Path:
    """Return a file of the folder. Skips the test where there is none; fails it where `CI=true`."""
    path = _FOLDER.joinpath(*parts)
    if not path.exists():
        reason = f"no {'/'.join(parts)} beside the project"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
