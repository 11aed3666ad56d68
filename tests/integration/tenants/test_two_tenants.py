"""Two tenants that do the same under the same names in one database answer as one tenant does that is alone in its own.

And no statement on the way, however it was made, leaves out whose rows it means.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event
from sqlalchemy.engine import Engine

from billing import usage_holds, wallets
from billing.database import Database
from billing.repositories import usage_holds as hold_rows
from billing.repositories import wallets as wallet_rows
from tests.billing_story import Company, at
from tests.integration.usage_holds.story import NOW, authorize, expected, give, settle, used
from tests.postgres_server import PostgresServer
from tests.state_machine.machine import Books
from tests.state_machine.test_state_machine import histories
from tests.tenant_filter import unfiltered

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d[\w.]*")
_OF_TENANT = re.compile(r'(?:[\w"]+\.)?"?tenant"? = (?:%\(\w+\)s|%s|\?|:\w+)(?:::\w+)?')


@pytest.fixture
def sent() -> Iterator[set[str]]:
    """Every statement that SQLite was sent, by whatever way, without its values."""
    statements: set[str] = set()

    def keep(statement: str) -> None:
        if not statement.startswith("--"):  # A trigger's, which sees the rows of one statement only.
            statements.add(_LITERAL.sub("?", statement))

    def trace(connection: Any, _record: Any) -> None:
        if hasattr(connection, "set_trace_callback"):
            connection.set_trace_callback(keep)

    event.listen(Engine, "connect", trace)
    yield statements
    event.remove(Engine, "connect", trace)


@pytest.fixture
def beside_each_other(sqlite_template: Path, tmp_path: Path) -> Callable[[], Sequence[Company]]:
    def opened() -> Database:
        path = tmp_path / f"{uuid4().hex}.db"
        shutil.copy(sqlite_template, path)
        return Database(f"sqlite:///{path}")

    def companies() -> Sequence[Company]:
        shared = opened()
        return [Company(opened(), "one"), Company(shared, "one"), Company(shared, "two")]

    return companies


def test_a_tenant_beside_another_does_as_one_alone(
    beside_each_other: Callable[[], Sequence[Company]], sent: set[str]
) -> None:
    class OfTwo(Books):
        open_companies = staticmethod(beside_each_other)

    run_state_machine_as_test(OfTwo, settings=histories(1, 40))
    assert [each for each in sent if _concerns_rows(each) and unfiltered(each)] == []
    assert len(sent) > 60
    assert any("usage_total" in each for each in sent)  # Which is written past SQLAlchemy.


@pytest.mark.postgres
def test_on_postgresql_too(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as alone, postgres_server.database() as shared:
        databases = [Database(alone), Database(shared)]

        class OfTwo(Books):
            @staticmethod
            def open_companies() -> Sequence[Company]:
                return [Company(databases[0], "one"), Company(databases[1], "one"), Company(databases[1], "two")]

        run_state_machine_as_test(OfTwo, settings=histories(1, 20))
        for database in databases:
            database.close()


def held(database: Database, tenants: Sequence[str]) -> dict[str, object]:
    """Let each tenant do the same with holds; return what each was answered."""
    answers: dict[str, list[object]] = {tenant: [] for tenant in tenants}
    companies = [Company(database, tenant) for tenant in tenants]
    for company in companies:
        company.found("acme")
        company.subscribe("acme", company.publish(), {"tokens": "1", "calls": "1"})
        give(company, 1000)
    for company in companies:
        said = answers[company.tenant]
        said += [authorize(company, expected(key, 1_000)) for key in "abc"]
        said.append(settle(company, "a", used("a", 900)))
    for company in companies:
        with company.database.writing(company.tenant) as uow:
            answers[company.tenant] += [
                usage_holds.release(uow, "b", NOW),
                usage_holds.expire_usage_holds(uow, at("2026-02-01")),
                wallets.balances(uow, "acme", NOW),
            ]
        company.close("2026-01", "2026-02-02")
        answers[company.tenant] += [each.total_minor for each in company.invoices("acme")]
    return dict(answers)


def test_holds_of_two_tenants_do_not_meet(database: Database, seen_statements: set[str]) -> None:
    both = held(database, ["one", "two"])
    assert both["one"] == both["two"] == held(database, ["alone"])["alone"]
    ours = [each for each in seen_statements if "tenant" in each.lower()]
    assert len(ours) > 100


def test_any_statement_that_lost_its_tenant_is_found(seen_statements: set[str], database: Database) -> None:
    """Each statement that the suite has sent so far, with its tenant taken out."""
    held(database, ["one"])
    missed = []
    for statement in seen_statements:
        if statement.lower().startswith("insert") or unfiltered(statement):
            continue
        without = _OF_TENANT.sub("1 = 1", statement)
        if without != statement and not unfiltered(without):
            missed.append(statement)
    assert missed == []


PLANTED: list[tuple[ModuleType, str, str]] = [
    (hold_rows, "pending", "_HOLD.c.tenant == uow.tenant, "),
    (hold_rows, "end", "_HOLD.c.tenant == uow.tenant, "),
    (wallet_rows, "due_holds", "HOLD.c.tenant == uow.tenant, "),
    (wallet_rows, "grants", "GRANT.c.tenant == uow.tenant, "),
]


@pytest.mark.parametrize(("module", "name", "filter_"), PLANTED)
def test_a_query_that_loses_its_filter_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, filter_: str
) -> None:
    source = inspect.getsource(getattr(module, name))
    assert filter_ in source
    monkeypatch.setattr(module, name, None)  # So that what is there now comes back.
    exec(source.replace(filter_, ""), module.__dict__)  # noqa: S102 - so that it comes from that module
    with pytest.raises(AssertionError, match="names no tenant for"):
        held(database, ["one", "two"])


def _concerns_rows(statement: str) -> bool:
    return statement.lstrip("( \n").lower().startswith(("select", "with", "update", "delete", "insert"))
