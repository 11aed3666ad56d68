"""The console over HTTP, with two people: one who proposes and one who approves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import people
from billing.database import Database
from billing.people import Role, add_person
from tests.billing_story import Company
from tests.integration.api.door import START, Door, open_door
from tests.integration.console.browsing import PASSWORD, Browsing


@pytest.fixture
def door(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A company with one invoice, and people of every role whose passwords are hashed fast."""
    monkeypatch.setattr(people, "_SCRYPT", {"n": 2, "r": 8, "p": 1})

    def furnish(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})
        company.close("2026-01", "2026-02-02")
        everyone = {"ann": [Role.PRODUCT, Role.FINANCE], "bob": [Role.APPROVER], "eve": [Role.FINANCE]}
        everyone |= {"ron": [Role.FINANCE, Role.REFUND], "ian": [Role.INTEGRATOR]}
        with database.writing("default") as uow:
            for name, roles in {**everyone, "pia": [Role.PRODUCT]}.items():
                add_person(uow, name, roles, PASSWORD, b"0123456789abcdef", START)

    yield from open_door(database_url, tmp_path, furnish)


@pytest.fixture
def browsing(door: Door) -> Browsing:
    """Nobody signed in yet."""
    return Browsing(door)
