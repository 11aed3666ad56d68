"""Console people: who may sign in, in which roles, and the sessions they have open.

Passwords are hashed with scrypt at OWASP's parameters; session tokens are 256 random bits, kept as SHA-256 alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, insert, select, update

from billing.database import Database
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.console import ConsoleSessionRow, PersonRow
from models.values.errors import ConflictError, InvalidValueError, NotFoundError
from models.values.ids import check_key

SESSION_LASTS = timedelta(hours=12)
LEAST_PASSWORD_CHARS = 12
FREE_FAILURES = 5
"""Wrong passwords before a person has to wait, twice as long each time."""
_LONGEST_WAIT = timedelta(minutes=15)
_SCRYPT = {"n": 2**14, "r": 8, "p": 5}

_PERSON = table_of(PersonRow)
_SESSION = table_of(ConsoleSessionRow)


class Role(StrEnum):
    """What a person does in the console."""

    PRODUCT = "product"  # Prices: board, drafts, demand, experiments, checkout.
    FINANCE = "finance"  # Money: invoices, closes, balances, downloads.
    REFUND = "refund"  # Pays money back, beside finance.
    APPROVER = "approver"  # Publishes what somebody else drafted.
    INTEGRATOR = "integrator"  # Connects other systems: webhook endpoints and their secrets.


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who may sign in."""

    name: str
    roles: frozenset[Role]
    created_at: datetime
    disabled_at: datetime | None = None

    def has(self, *roles: Role) -> bool:
        """Return whether the person has any of `roles`."""
        return not self.roles.isdisjoint(roles)


def person_document(person: Person) -> dict[str, Any]:
    """Return a person as the audit trail hashes it."""
    disabled = person.disabled_at
    return {
        "name": person.name,
        "roles": sorted(person.roles),
        "disabled_at": None if disabled is None else disabled.isoformat(),
    }


def add_person(uow: UnitOfWork, name: str, roles: Iterable[str], password: str, salt: bytes, at: datetime) -> Person:
    """Let someone sign in. `salt`: 16 fresh random bytes. Raises InvalidValueError, ConflictError."""
    check_key(name, "person.name")
    wanted = _checked_roles(roles)
    if find_person(uow, name) is not None:
        raise ConflictError("is a person already", field="person.name", value=name, code="person_exists")
    uow.connection.execute(
        insert(_PERSON).values(
            tenant=uow.tenant,
            name=name,
            roles=sorted(wanted),
            salt=salt.hex(),
            password_hash=_hash(_checked(password), salt),
            failures=0,
            created_at=at,
        )
    )
    return Person(name, wanted, at)


def set_password(uow: UnitOfWork, name: str, password: str, salt: bytes) -> None:
    """Give a person another password and end all their sessions. Raises NotFoundError, InvalidValueError."""
    _existing(uow, name)
    uow.connection.execute(
        update(_PERSON)
        .where(_is(uow, name))
        .values(salt=salt.hex(), password_hash=_hash(_checked(password), salt), failures=0, failed_at=None)
    )
    _end_sessions(uow, name)


def set_roles(uow: UnitOfWork, name: str, roles: Iterable[str]) -> Person:
    """Give a person other roles; sessions that are open go by them at once. Raises NotFoundError, InvalidValueError."""
    _existing(uow, name)
    wanted = _checked_roles(roles)
    uow.connection.execute(update(_PERSON).where(_is(uow, name)).values(roles=sorted(wanted)))
    return _existing(uow, name)


def disable_person(uow: UnitOfWork, name: str, at: datetime) -> Person:
    """Keep a person out from now on; their name stays in the records. Raises NotFoundError."""
    _existing(uow, name)
    uow.connection.execute(
        update(_PERSON).where(_is(uow, name), _PERSON.c.disabled_at.is_(None)).values(disabled_at=at)
    )
    _end_sessions(uow, name)
    return _existing(uow, name)


def find_person(uow: UnitOfWork, name: str) -> Person | None:
    """Return one person, or None."""
    row = uow.connection.execute(select(_PERSON).where(_is(uow, name))).mappings().first()
    return None if row is None else _person(row)


def people(uow: UnitOfWork) -> list[Person]:
    """Return everyone, by name."""
    rows = uow.connection.execute(select(_PERSON).where(_PERSON.c.tenant == uow.tenant).order_by(_PERSON.c.name))
    return [_person(row) for row in rows.mappings()]


def sign_in(database: Database, tenant: str, name: str, password: str, token: str, at: datetime) -> Person | None:
    """Open a session named by `token` (fresh, 256 bits) and return the person.

    None: unknown, disabled, wrong password, or too many wrong ones lately; which of them is not told. The password
    is hashed outside any transaction, and for unknown names too, so that both take equally long.
    """
    with database.reading(tenant) as uow:
        row = uow.connection.execute(select(_PERSON).where(_is(uow, name))).mappings().first()
    salt = bytes.fromhex(row["salt"]) if row is not None else bytes(16)
    proven = hmac.compare_digest(_hash(password, salt), row["password_hash"] if row is not None else "")
    if row is None or row["disabled_at"] is not None or _must_wait(row, at):
        return None

    def work(uow: UnitOfWork) -> None:
        if not proven:
            uow.connection.execute(
                update(_PERSON).where(_is(uow, name)).values(failures=_PERSON.c.failures + 1, failed_at=at)
            )
            return
        uow.connection.execute(update(_PERSON).where(_is(uow, name)).values(failures=0, failed_at=None))
        uow.connection.execute(delete(_SESSION).where(_SESSION.c.tenant == tenant, _SESSION.c.expires_at <= at))
        uow.connection.execute(
            insert(_SESSION).values(
                tenant=tenant, token_hash=_digest(token), person=name, opened_at=at, expires_at=at + SESSION_LASTS
            )
        )

    database.write(tenant, work)
    return _person(row) if proven else None


def person_signed_in(uow: UnitOfWork, token: str, at: datetime) -> Person | None:
    """Return whose session a token names, or None where there is none, it is over, or the person is disabled."""
    found = (
        uow.connection.execute(
            select(_PERSON)
            .join(_SESSION, (_SESSION.c.tenant == _PERSON.c.tenant) & (_SESSION.c.person == _PERSON.c.name))
            .where(_SESSION.c.tenant == uow.tenant, _SESSION.c.token_hash == _digest(token), _SESSION.c.expires_at > at)
        )
        .mappings()
        .first()
    )
    return _person(found) if found is not None and found["disabled_at"] is None else None


def sign_out(uow: UnitOfWork, token: str) -> None:
    """End a session; again changes nothing."""
    uow.connection.execute(
        delete(_SESSION).where(_SESSION.c.tenant == uow.tenant, _SESSION.c.token_hash == _digest(token))
    )


def _must_wait(row: Mapping[str, Any], at: datetime) -> bool:
    beyond = row["failures"] - FREE_FAILURES
    if beyond < 0:
        return False
    until: datetime = row["failed_at"] + min(_LONGEST_WAIT, timedelta(seconds=2 ** min(beyond, 10)))
    return at < until


def _end_sessions(uow: UnitOfWork, name: str) -> None:
    uow.connection.execute(delete(_SESSION).where(_SESSION.c.tenant == uow.tenant, _SESSION.c.person == name))


def _existing(uow: UnitOfWork, name: str) -> Person:
    found = find_person(uow, name)
    if found is None:
        raise NotFoundError("no such person", field="person", value=name, code="unknown_person")
    return found


def _is(uow: UnitOfWork, name: str) -> Any:  # noqa: ANN401
    return (_PERSON.c.tenant == uow.tenant) & (_PERSON.c.name == name)


def _person(row: Mapping[str, Any]) -> Person:
    return Person(row["name"], frozenset(Role(each) for each in row["roles"]), row["created_at"], row["disabled_at"])


def _checked_roles(roles: Iterable[str]) -> frozenset[Role]:
    wanted = frozenset(_role(role) for role in roles)
    if not wanted:
        raise InvalidValueError("needs at least one role", field="person.roles")
    if Role.REFUND in wanted and Role.FINANCE not in wanted:  # Whoever pays back has to see what was paid.
        raise InvalidValueError("refund needs the role finance beside it", field="person.roles", value=Role.REFUND)
    return wanted


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise InvalidValueError(f"must be one of {', '.join(Role)}", field="person.roles", value=role) from error


def _checked(password: str) -> str:
    if len(password) < LEAST_PASSWORD_CHARS:
        raise InvalidValueError(f"needs at least {LEAST_PASSWORD_CHARS} characters", field="person.password")
    return password


def _hash(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, dklen=32, **_SCRYPT).hex()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
