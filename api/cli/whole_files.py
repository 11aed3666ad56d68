"""Writing files that nobody finds half of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file under a temporary name, then give it its own."""
    half = path.with_name(f".{path.name}.part")
    with half.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    half.replace(path)
