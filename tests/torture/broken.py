"""A workload that does everything wrong, to see that the harness sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text

from billing.database import Database
from tests.ledger_facts import TENANT
from tests.torture.harness import Step, Tell

_LONG = 2


@dataclass(frozen=True, slots=True)
class Broken:
    """Tells of a row it never wrote, leaves a step half written, and writes a row twice when asked twice."""

    pause: float = 0.2

    def prepare(self, database: Database) -> None:
        with database.writing(TENANT) as uow:
            uow.connection.execute(text("create table marks (step text)"))

    def steps(self, database: Database, number: int) -> Iterator[Step]:
        yield Step("forgotten", 1, _write_others, partial(_present, "forgotten"))
        yield Step("halved", 2, lambda _database, _tell: time.sleep(_LONG), partial(_present, "halved"))
        yield Step("repeated", 1, lambda _database, _tell: None, partial(_present, "repeated"))

    def problems(self, database: Database) -> list[str]:
        return []


def _write_others(database: Database, _tell: Tell) -> None:
    """Write half of one step and all of another, again each time, and nothing of the step itself."""
    with database.writing(TENANT) as uow:
        uow.connection.execute(text("insert into marks values ('halved'), ('repeated')"))


def _present(key: str, database: Database) -> int:
    with database.reading(TENANT) as uow:
        return int(
            uow.connection.execute(text("select count(*) from marks where step = :key"), {"key": key}).scalar_one()
        )


WORKLOAD = Broken()
