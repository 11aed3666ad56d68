"""What each problem code means and what to do about it: the list that `make problem-codes` writes from the source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

CODES = Path(__file__).parent / "static" / "problem_codes.json"


class ProblemCode(msgspec.Struct, frozen=True):
    """A code with what it means and what to do about it. `rules`: what was broken, as answers state it."""

    code: str
    meaning: str
    remedy: str
    rules: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The code in words, as problems bear it."""
        return self.code.replace("_", " ")


@cache
def problem_codes() -> Mapping[str, ProblemCode]:
    """Return every code, in alphabetical order."""
    return {each.code: each for each in msgspec.json.decode(CODES.read_bytes(), type=list[ProblemCode])}
