"""Fitted demand models: rows <-> values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, insert, select, update

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.demand import DemandModelRow
from models.values.errors import NotFoundError
from pricing_engine.demand.feature_posterior import FeaturePosterior, read_posterior

_MODEL = table_of(DemandModelRow)
_LARGEST_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHead:
    """What is known of a fitted model without reading it: see `DemandModelRow`."""

    book_key: str
    version: int
    content_hash: str
    learned_from: datetime
    learned_until: datetime
    silence_is_refusal: bool
    recorded_at: datetime
    card: Mapping[str, Any] | None

    @property
    def warnings(self) -> tuple[str, ...] | None:
        """What the model's card warns of, None where it has none."""
        return None if self.card is None else tuple(self.card["warnings"])

    @property
    def distrust(self) -> str:
        """Why no price may follow from the model, by its card."""
        return "" if self.card is None else str(self.card["distrust"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(ModelHead):
    """A fitted model and what it learned from."""

    posterior: FeaturePosterior


_FIELDS = [*ModelHead.__slots__]


class DemandModelRepository:
    """The fitted models of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, model: StoredModel) -> None:
        """Store a model; the database refuses a second one under the same book and version."""
        self._uow.connection.execute(
            insert(_MODEL).values(
                tenant=self._uow.tenant,
                document=model.posterior.document(),
                **{name: getattr(model, name) for name in _FIELDS},
            )
        )

    def judge(self, model: ModelHead, card: Mapping[str, Any]) -> None:
        """Give a model another card: its segments were checked once more."""
        mine = (_MODEL.c.tenant == self._uow.tenant) & (_MODEL.c.book_key == model.book_key)
        self._uow.connection.execute(update(_MODEL).where(mine, _MODEL.c.version == model.version).values(card=card))

    def find(self, book_key: str, content_hash: str) -> StoredModel | None:
        """Return a book's model by its hash, or None."""
        return self._first(self._of(book_key).where(_MODEL.c.content_hash == content_hash))

    def newest(self, book_key: str) -> StoredModel | None:
        """Return the model of a book that was fitted last, or None."""
        return self._first(self._of(book_key).order_by(_MODEL.c.version.desc()).limit(1))

    def get(self, book_key: str, version: int) -> StoredModel:
        """Return one model of a book. Raises NotFoundError."""
        is_number = 0 < version <= _LARGEST_VERSION
        found = self._first(self._of(book_key).where(_MODEL.c.version == version)) if is_number else None
        if found is None:
            raise NotFoundError("no such demand model", field="model", value=version, code="unknown_demand_model")
        return found

    def heads(self, book_key: str, limit: int, below: int | None = None) -> list[ModelHead]:
        """Return a book's models, the newest first, of a version `below` one."""
        query = select(*[_MODEL.c[name] for name in _FIELDS]).where(
            _MODEL.c.tenant == self._uow.tenant, _MODEL.c.book_key == book_key
        )
        if below is not None:
            query = query.where(_MODEL.c.version < below)
        rows = self._uow.connection.execute(query.order_by(_MODEL.c.version.desc()).limit(limit))
        return [ModelHead(**row) for row in rows.mappings()]

    def _of(self, book_key: str) -> Select[Any]:
        return select(_MODEL).where(_MODEL.c.tenant == self._uow.tenant, _MODEL.c.book_key == book_key)

    def _first(self, query: Select[Any]) -> StoredModel | None:
        row = self._uow.connection.execute(query).mappings().first()
        return None if row is None else _model(row)


def _model(row: RowMapping) -> StoredModel:
    return StoredModel(posterior=read_posterior(row["document"]), **{name: row[name] for name in _FIELDS})
