"""`alacarte people`: who may sign in to the console."""

from __future__ import annotations

import argparse
import secrets
from datetime import UTC, datetime

from api.cli.workspace import open_workspace
from billing.audit import Actor, record, record_change
from billing.people import (
    Role,
    add_person,
    disable_person,
    find_person,
    people,
    person_document,
    set_password,
    set_roles,
)

_PASSWORD_BYTES = 12


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("people", help="who may sign in to the console")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="let someone sign in; prints a password that nobody can see again")
    add.add_argument("name")
    add.add_argument("--role", action="append", choices=[*map(str, Role)], required=True, help="may be repeated")
    add.set_defaults(run=run_add)
    password = actions.add_parser("password", help="give someone a new password and end their sessions")
    password.add_argument("name")
    password.set_defaults(run=run_password)
    roles = actions.add_parser("roles", help="give someone other roles, at once")
    roles.add_argument("name")
    roles.add_argument("--role", action="append", choices=[*map(str, Role)], required=True, help="may be repeated")
    roles.set_defaults(run=run_roles)
    disable = actions.add_parser("disable", help="keep someone out from now on")
    disable.add_argument("name")
    disable.set_defaults(run=run_disable)
    actions.add_parser("list", help="list everyone with their roles").set_defaults(run=run_list)


def run_add(options: argparse.Namespace) -> int:
    """Print the password on standard output, alone."""
    now, password = datetime.now(UTC), new_password()
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        person = add_person(uow, options.name, options.role, password, secrets.token_bytes(16), now)
        record(uow, Actor("cli", now), "person.add", ("person", person.name), after=person_document(person))
    print(password)
    return 0


def run_password(options: argparse.Namespace) -> int:
    """Print the new password on standard output, alone."""
    now, password = datetime.now(UTC), new_password()
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        set_password(uow, options.name, password, secrets.token_bytes(16))
        record(uow, Actor("cli", now), "person.password", ("person", options.name))
    print(password)
    return 0


def run_roles(options: argparse.Namespace) -> int:
    """Replace all roles of a person."""
    now = datetime.now(UTC)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        before = find_person(uow, options.name)
        person = set_roles(uow, options.name, options.role)
        shown = {"before": before and person_document(before), "after": person_document(person)}
        record_change(uow, Actor("cli", now), "person.roles", ("person", person.name), **shown)
    print(f"{options.name} is {', '.join(sorted(person.roles))}")
    return 0


def run_disable(options: argparse.Namespace) -> int:
    """End the person's sessions and let them in no more."""
    now = datetime.now(UTC)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        before = find_person(uow, options.name)
        person = disable_person(uow, options.name, now)
        shown = {"before": before and person_document(before), "after": person_document(person)}
        record_change(uow, Actor("cli", now), "person.disable", ("person", person.name), **shown)
    print(f"{options.name} is disabled")
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print name, roles and state of each person."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for person in people(uow):
            state = "disabled" if person.disabled_at else "active"
            print(f"{person.name}\t{','.join(sorted(person.roles))}\t{state}")
    return 0


def new_password() -> str:
    """Return 96 random bits as text."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)
