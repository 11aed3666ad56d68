"""`alacarte customers`: load customers and legal entities from a YAML file, list them and what they owe."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from api.cli.numbers import days, whole
from api.cli.workspace import now_in, open_workspace
from api.customer_links import CustomerLink, write_link
from api.schemas.customers import balance_document
from billing.audit import Actor, record, record_change
from billing.customer_changes import save_customers
from billing.customers import Customer, LegalEntity
from billing.receivables import customer_balances
from billing.repositories.customers import CustomerRepository
from models.values.errors import InvalidValueError

_LINK_DAYS = 30


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("customers", help="load and list customers")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    load = actions.add_parser("load", help="add or change customers from a file with legal_entities and customers")
    load.add_argument("file", type=Path)
    load.set_defaults(run=run_load)
    actions.add_parser("list", help="list all customers").set_defaults(run=run_list)
    owed = actions.add_parser("balances", help="print what is open of each customer's invoices, and their credit")
    owed.add_argument("key", nargs="?", help="one customer; default: all with a balance")
    owed.set_defaults(run=run_balances)
    link = actions.add_parser("link", help="print a signed link to a customer's own page in the console")
    link.add_argument("key")
    link.add_argument("--days", type=whole, default=_LINK_DAYS, help=f"how long it is good (default: {_LINK_DAYS})")
    link.add_argument("--address", default="http://127.0.0.1:8000", help="where the console is served")
    link.set_defaults(run=run_link)


def run_load(options: argparse.Namespace) -> int:
    """Load one file, all or nothing."""
    entities, customers = read_customers(options.file)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        repository, by = CustomerRepository(uow), Actor("cli", now_in(settings, uow))
        issuers = {each.key: asdict(each) for each in repository.legal_entities()}
        known = repository.many([each.key for each in customers])
        for entity in entities:
            repository.save_legal_entity(entity)
            of, before = ("legal_entity", entity.key), issuers.get(entity.key)
            record_change(uow, by, "legal_entity.save", of, before=before, after=asdict(entity))
        save_customers(uow, customers, by.at)
        for each in customers:
            of, before = ("customer", each.key), asdict(known[each.key]) if each.key in known else None
            record_change(uow, by, "customer.save", of, before=before, after=asdict(each))
    print(f"{len(entities)} legal entities, {len(customers)} customers")
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print each customer's key, name, currency and segment."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for customer in CustomerRepository(uow).all():
            print(f"{customer.key}\t{customer.legal_name}\t{customer.currency}\t{customer.segment}")
    return 0


def run_balances(options: argparse.Namespace) -> int:
    """Print customer, currency, what is open and what stands to their credit, in major units."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        repository = CustomerRepository(uow)
        keys = [each.key for each in repository.all()] if options.key is None else [repository.get(options.key).key]
        found = customer_balances(uow, keys)
    for each in found:
        if options.key is not None or each.open_minor or each.credit_minor:
            shown = balance_document(each)
            print(f"{each.customer}\t{each.currency}\topen {shown['open']}\tcredit {shown['credit']}")
    return 0


def run_link(options: argparse.Namespace) -> int:
    """Print the link."""
    now = datetime.now(UTC)
    ends_at = now + days(options.days)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        CustomerRepository(uow).get(options.key)
        record(uow, Actor("cli", now), "customer.link", ("customer", options.key))
        link = CustomerLink(settings.tenant, options.key, ends_at)
        print(f"{options.address.rstrip('/')}/console/customer/{write_link(link, settings.signer())}")
    return 0


def read_customers(path: Path) -> tuple[list[LegalEntity], list[Customer]]:
    """Read a customers file. Raises InvalidValueError naming the file and the entry."""
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InvalidValueError(str(error), field=str(path), code="unreadable_file") from error
    if not isinstance(document, dict) or not document.keys() <= {"legal_entities", "customers"}:
        raise InvalidValueError("must have legal_entities and customers", field=str(path))
    entities = [
        _read(item, LegalEntity, f"{path}: legal_entities[{i}]")
        for i, item in enumerate(document.get("legal_entities", []))
    ]
    customers = [
        _read(item, Customer, f"{path}: customers[{i}]") for i, item in enumerate(document.get("customers", []))
    ]
    return entities, customers


def _read(item: Any, wanted: type[Any], where: str) -> Any:  # noqa: ANN401
    known = {field.name for field in fields(wanted)}
    if not isinstance(item, dict) or not item.keys() <= known:
        unknown = sorted(item.keys() - known) if isinstance(item, dict) else item
        raise InvalidValueError("has unknown fields", field=where, value=unknown, code="unknown_field")
    try:
        return msgspec.convert(item, wanted)
    except msgspec.ValidationError as error:
        raise InvalidValueError(str(error), field=where, code="malformed_customer") from error
