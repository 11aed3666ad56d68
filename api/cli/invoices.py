"""`alacarte invoice`: list, show, print, finalise, correct and settle what was billed."""

from __future__ import annotations

import argparse
import os
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from api.cli.workspace import current_time, now_in, open_workspace
from api.invoice_acts import (
    credit_invoice,
    finalise_drafts,
    pay_invoice,
    refund_of_invoice,
    void_invoice,
    write_off_invoice,
)
from billing.audit import Actor
from billing.database import Database
from billing.exports.printing import printed_credit_note, printed_invoice
from billing.exports.rendering import to_html, to_pdf
from billing.invoices import Invoice
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.stripe.handing_over import configured_hand_over
from billing.unit_of_work import UnitOfWork
from billing.whole_files import write_whole
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor
from models.values.quantity import plain

_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("invoice", help="list, show, print, finalise, void, credit and settle invoices")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the invoices of a customer, or the latest")
    listing.add_argument("--customer")
    listing.set_defaults(run=run_list)
    for name, help_ in (("pdf", "print as PDF"), ("html", "print as HTML")):
        printing = actions.add_parser(name, help=f"{help_}; credit notes as well")
        printing.add_argument("invoice", nargs="?", help="number or id of an invoice or credit note")
        printing.add_argument("--period", help="every invoice of a month")
        printing.add_argument("--out", type=Path, default=Path(), help="folder (default: here)")
        printing.set_defaults(run=run_print, form=name)
    final = actions.add_parser("finalise", help="finalise one draft, or all that are due")
    final.add_argument("invoice", nargs="?")
    final.set_defaults(run=run_finalise)
    for name, run, help_ in (
        ("void", run_void, "void an unpaid invoice; its usage goes on the next one"),
        ("write-off", run_write_off, "give up what is open of an invoice"),
        ("credit", run_credit, "issue a credit note"),
        ("pay", run_pay, "record a payment"),
        ("refund", run_refund, "pay money back, through Stripe where it collected"),
    ):
        action = actions.add_parser(name, help=help_)
        action.add_argument("invoice", help="number or id")
        action.set_defaults(run=run)
        if name in {"void", "credit"}:
            action.add_argument("--reason", required=True)
        if name == "credit":
            action.add_argument(
                "--line", action="append", metavar="LINE=NET", help="net amount of a line; default: all"
            )
            action.add_argument("--key", help="idempotency key (default: one credit note an invoice)")
            action.add_argument("--issued-on", type=date.fromisoformat, help="date (default: today)")
        if name in {"pay", "refund"}:
            action.add_argument("amount")
            whose = "the processor's id of the payment" if name == "pay" else "idempotency key of the refund"
            action.add_argument("--key", required=True, help=whose)
        if name == "pay":
            action.add_argument("--processor", default="manual", help="who took it in (default: manual)")
        if name == "refund":
            action.add_argument("--processor", help="who paid it back (default: Stripe will, where it collects)")


def run_list(options: argparse.Namespace) -> int:
    """List invoices."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        repository = InvoiceRepository(uow)
        found = repository.of_customer(options.customer) if options.customer else repository.recent()
    table = Table()
    for column in ("number", "customer", "issued", "state", "total", "open"):
        # Of a number that is cut where the screen ends nothing can be asked.
        width = max((len(each.number or each.id) for each in found), default=0) if column == "number" else None
        table.add_column(column, justify="right" if column in {"total", "open"} else "left", min_width=width)
    for each in found:
        money = currency(each.currency)
        table.add_row(
            each.number or each.id,
            each.customer,
            each.issued_on.isoformat(),
            each.state.value,
            f"{plain(from_minor(each.total_minor, money))} {each.currency}",
            plain(from_minor(each.open_minor, money)),
        )
    Console().print(table)
    return 0


def invoice_table(invoice: Invoice) -> Table:
    """Return an invoice as a table for people."""
    money = currency(invoice.currency)
    title = f"{invoice.number or 'draft'} {invoice.customer} {invoice.state.value}"
    total = f"net {plain(from_minor(invoice.net_minor, money))}, tax {plain(from_minor(invoice.tax_minor, money))}"
    carrying = f"carried in {plain(invoice.carried_in)}, carried out {plain(invoice.carried_out)}"
    table = Table(
        title=title,
        caption=f"{total}, total {plain(from_minor(invoice.total_minor, money))} {money.code}; {carrying}",
    )
    for column in ("line", "description", "quantity", "unit price", "exact", "rounded", "tax"):
        table.add_column(column, justify="left" if column == "description" else "right")
    for line in invoice.lines:
        table.add_row(
            str(line.line),
            line.description,
            plain(line.quantity),
            "" if line.unit_price is None else plain(line.unit_price),
            plain(line.exact),
            plain(from_minor(line.net_minor, money)),
            plain(from_minor(line.tax_minor, money)),
        )
    return table


def run_print(options: argparse.Namespace) -> int:
    """Write invoices or credit notes as PDF or HTML."""
    if (options.invoice is None) == (options.period is None):
        raise InvalidValueError("needs an invoice, or --period", field="invoice")
    options.out.mkdir(parents=True, exist_ok=True)
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        names = [options.invoice] if options.period is None else InvoiceRepository(uow).of_period(options.period)
        for name in names:
            view = view_of(uow, name)
            path = options.out / f"{_UNSAFE_IN_NAMES.sub('_', view['number'] or name)}.{options.form}"
            content = to_pdf(view) if options.form == "pdf" else to_html(view).encode()
            write_whole(path, [content])
            print(path)
    return 0


def view_of(uow: UnitOfWork, name: str) -> dict[str, Any]:
    """Return the view of an invoice or credit note, named by number or id."""
    invoices = InvoiceRepository(uow)
    invoice = invoices.find(name)
    note = CreditNoteRepository(uow).find(name) if invoice is None else None
    if note is not None:
        return printed_credit_note(uow, note)
    return printed_invoice(uow, invoice or invoices.get(name))


def run_finalise(options: argparse.Namespace) -> int:
    """Finalise one draft, or all whose grace period is over."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        drafts = [options.invoice] if options.invoice else _due(database, settings.tenant, now)
        with database.writing(settings.tenant) as uow:
            for each in finalise_drafts(uow, drafts, _by(now), configured_hand_over(os.environ)):
                print(f"{each['number']} {each['customer']} {each['total']}")
    return 0


def _due(database: Database, tenant: str, now: datetime) -> list[str]:
    with database.reading(tenant) as uow:
        return InvoiceRepository(uow).drafts_due(now)


def _by(now: datetime) -> Actor:
    return Actor("cli", now)


def run_void(options: argparse.Namespace) -> int:
    """Void an invoice."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        voided = void_invoice(uow, options.invoice, options.reason, _by(now_in(settings, uow)))
    print(f"{voided['number']} is void")
    return 0


def run_write_off(options: argparse.Namespace) -> int:
    """Write an invoice off."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        given_up = write_off_invoice(uow, options.invoice, _by(now_in(settings, uow)))
    print(f"{given_up['number']} is uncollectible")
    return 0


def run_credit(options: argparse.Namespace) -> int:
    """Issue a credit note."""
    lines: dict[str, str] | None = None
    for pair in options.line or ():
        number, equals, amount = pair.partition("=")
        if not equals:
            raise InvalidValueError("must be LINE=NET, like 1=12.50", field="line", value=pair)
        if number in (lines or {}):
            raise InvalidValueError("must not name a line twice", field="line", value=pair)
        lines = {**(lines or {}), number: amount}
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by, invoice = _by(now_in(settings, uow)), InvoiceRepository(uow).get(options.invoice)
        key = options.key or f"cli:{invoice.id}"
        note = credit_invoice(uow, invoice.id, key, options.reason, lines, by, issued_on=options.issued_on)
    print(f"{note['number']} credits {note['total']} {note['currency']} of {invoice.number}")
    return 0


def run_pay(options: argparse.Namespace) -> int:
    """Record a payment."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by = _by(now_in(settings, uow))
        paid = pay_invoice(uow, options.invoice, options.key, options.amount, by, processor=options.processor)
    print(f"{paid['number']} is {paid['state']}, {paid['open']} {paid['currency']} open")
    return 0


def run_refund(options: argparse.Namespace) -> int:
    """Pay money back; what Stripe collected is posted once Stripe has paid it back."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by = _by(now_in(settings, uow))
        back = refund_of_invoice(uow, options.invoice, options.key, options.amount, by, processor=options.processor)
    of = f"{options.amount} {back['currency']} of {back['number']}"
    if back["state"] == "recorded":
        print(f"{of} paid back, {back['open']} {back['currency']} open")
    else:
        print(f"{of} to be paid back: alacarte stripe sync")
    return 0
