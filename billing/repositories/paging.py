"""Where a page begins: beyond the last row of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal, tuple_


def earlier_than(columns: Sequence[ColumnElement[Any]], place: Sequence[object]) -> ColumnElement[bool]:
    """Return the condition: a row comes before `place` in the order of `columns`."""
    return tuple_(*columns) < _place(columns, place)


def later_than(columns: Sequence[ColumnElement[Any]], place: Sequence[object]) -> ColumnElement[bool]:
    """Return the condition: a row comes after `place` in the order of `columns`."""
    return tuple_(*columns) > _place(columns, place)


def _place(columns: Sequence[ColumnElement[Any]], place: Sequence[object]) -> Any:  # noqa: ANN401
    # Each value as its column stores it: times are text of their own form on SQLite.
    return tuple_(*(literal(value, column.type) for column, value in zip(columns, place, strict=True)))
