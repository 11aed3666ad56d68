"""Many rows a statement on SQLite: one of a hundred rows costs half of what a hundred statements of one row cost.

Each statement opens its table and every index anew and looks from the top for where a row belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from typing import Any

_SIZES = (100, 10, 1)
"""Rows a statement: few sizes, as a connection keeps its latest hundred or so statements compiled."""
_OWN = "?"


class ManyRows:
    """One statement for any number of rows: `head values (...), (...) tail`.

    `row` is the expressions of one row: `?1`, `?2` ... for the parameters that all rows share, `?` for its own.
    """

    def __init__(self, head: str, row: Sequence[str], tail: str, *, shared: int) -> None:
        self._statements = [(size, f"{head} values {_values(row, size, shared)} {tail}") for size in _SIZES]

    def execute(self, cursor: Any, shared: Sequence[Any], rows: Sequence[Sequence[Any]]) -> int:  # noqa: ANN401 - sqlite3
        """Execute it for `rows` in their order; return how many rows it changed. Raises what sqlite3 raises."""
        changed = start = 0
        for size, statement in self._statements:
            while len(rows) - start >= size:
                cursor.execute(statement, [*shared, *chain.from_iterable(rows[start : start + size])])
                changed += cursor.rowcount
                start += size
        return changed


def _values(row: Sequence[str], size: int, shared: int) -> str:
    numbers = count(shared + 1)
    return ", ".join(
        f"({', '.join(f'?{next(numbers)}' if part == _OWN else part for part in row)})" for _ in range(size)
    )
