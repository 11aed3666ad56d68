"""Asking a table about many texts at once, with one bound parameter whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, CursorResult, Executable, Text, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from billing.unit_of_work import UnitOfWork

_EACH_TEXT = text("(select value from json_each(:texts))")

OneOf = Callable[[Column[Any]], ColumnElement[bool]]
"""Makes the condition that a column is one of the texts asked about."""


def members(uow: UnitOfWork, column: Column[Any], texts: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a text `column` is one of `texts`.

    Unlike an IN list it compiles once, and has no limit on the number of parameters.
    """
    if uow.is_sqlite:  # As text: a select over a table-valued function takes SQLAlchemy as long as the whole statement.
        sent = bindparam("texts", msgspec.json.encode(list(texts)).decode(), Text, unique=True)
        return column.op("in", is_comparison=True)(_EACH_TEXT.bindparams(sent))
    return column == func.any(bindparam(None, list(texts), type_=ARRAY(Text)))


class AskedOften:
    """A statement about the tenant and many texts, made once: making it anew costs ten times its execution."""

    def __init__(self, build: Callable[[ColumnElement[str], OneOf], Executable]) -> None:
        """`build` gets the tenant's parameter and the maker of the condition on a column."""
        tenant = bindparam("tenant", type_=Text)
        self._sqlite = build(tenant, _one_of_sqlite)
        self._postgresql = build(tenant, _one_of_postgresql)

    def __call__(self, uow: UnitOfWork, texts: Collection[str] = (), **more: Any) -> CursorResult[Any]:  # noqa: ANN401
        """Execute it for the tenant at hand."""
        sent = msgspec.json.encode(list(texts)).decode() if uow.is_sqlite else list(texts)
        statement = self._sqlite if uow.is_sqlite else self._postgresql
        return uow.connection.execute(statement, {"tenant": uow.tenant, "texts": sent, **more})


def _one_of_sqlite(column: Column[Any]) -> ColumnElement[bool]:
    each = func.json_each(bindparam("texts", type_=Text)).table_valued("value")
    return column.in_(select(each.c.value))


def _one_of_postgresql(column: Column[Any]) -> ColumnElement[bool]:
    return column == func.any(bindparam("texts", type_=ARRAY(Text)))
