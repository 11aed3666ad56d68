"""Real data that may lie in a folder beside the project; tests that want it skip where it is absent."""

from __future__ import annotations

from pathlib import Path

from tests.absent import absent

_FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared_path(*parts: str) -> Path:
    """Return a file of the folder. Skips the test where there is none; fails it where `CI=true`."""
    path = _FOLDER.joinpath(*parts)
    if not path.exists():
        absent(f"no {'/'.join(parts)} beside the project")
    return path
