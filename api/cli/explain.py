"""`alacarte explain`: follow an invoice line to its price, its rated usage and its events."""

from __future__ import annotations

import argparse
import json
from itertools import islice
from typing import Any

from rich.console import Console

from api.cli.invoices import invoice_table
from api.cli.numbers import whole
from api.cli.workspace import open_workspace
from billing.explanation import ExplainedUsage, LineExplanation, events_behind, explain_line
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor
from models.values.quantity import plain

_ALL = -1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("explain", help="follow an invoice line to its price and its events")
    command.add_argument("invoice", help="number or id")
    command.add_argument("--line", type=whole, help="a line; without it the invoice is shown")
    command.add_argument("--events", type=whole, default=10, help=f"events to list (default 10; {_ALL}: all)")
    command.add_argument("--json", action="store_true", help="the whole explanation as JSON, all events included")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain a line, or show an invoice."""
    if options.events < _ALL:
        raise InvalidValueError(f"must be {_ALL} (all) or more", field="events", value=options.events)
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        if options.line is None:
            invoice = InvoiceRepository(uow).get(options.invoice)
            Console().print(invoice_table(invoice))
            return 0
        explained = explain_line(uow, options.invoice, options.line)
        if options.json:
            print(json.dumps(_explanation_document(uow, explained), ensure_ascii=False, indent=2))
        else:
            print_explanation(uow, explained, options.events)
    return 0 if explained.adds_up else 1


def print_explanation(uow: UnitOfWork, explained: LineExplanation, events: int) -> None:
    """Print a line's explanation for people."""
    line, invoice = explained.line, explained.invoice
    money = currency(invoice.currency)
    print(f"{invoice.number or 'draft'} line {line.line}: {line.description}, {invoice.customer}")
    print(f"  exact {plain(line.exact)} {invoice.currency}, rounded {plain(from_minor(line.net_minor, money))}")
    how = "an amount" if line.has_tax_amount else f"{plain(line.tax_percent)} %"
    print(f"  tax {plain(from_minor(line.tax_minor, money))}: {line.tax_code}, {how}")
    for usage in explained.usages:
        row = usage.row
        print(f"  rated usage {usage.charge}#{usage.position}: {plain(row.amount)} {invoice.currency}")
        print(f"    service {row.service.start.isoformat()} to {row.service.end.isoformat()}")
        print(f"    quantity {plain(row.quantity)}, list {plain(row.list_amount)}, cost {plain(row.cost)}")
        if usage.book_key is not None:
            print(f"    price book {usage.book_key} version {usage.book_version}, {row.book_hash}")
            print(f"    tariff {json.dumps(usage.tariff, ensure_ascii=False)}")
        if row.corrects is not None:
            print(f"    corrects {row.corrects}: due {row.detail.get('due')}, billed {row.detail.get('billed')}")
        for name in ("prorated", "bounds", "mid_period", "discount", "tariff", "coupon", "committed", "spent"):
            if name in row.detail:
                print(f"    {name}: {json.dumps(row.detail[name], ensure_ascii=False)}")
        for step in row.detail.get("steps", ()):
            print(f"    step {step['name']}: {step['of']} {step['before']} -> {step['after']}")
        _print_events(uow, invoice.customer, usage, events)


def _print_events(uow: UnitOfWork, customer: str, usage: ExplainedUsage, limit: int) -> None:
    if usage.meter is None:
        return
    print(f"    meter {usage.meter.key} ({usage.meter.aggregation} over {usage.meter.event_type}), events:")
    shown = events_behind(uow, customer, usage)
    count = 0
    for event in shown if limit == _ALL else islice(shown, limit):
        late = " late" if event.is_late else ""
        print(f"      {event.source} {event.event_id} {event.occurred_at.isoformat()} {event.read}{late}")
        count += 1
    rest = sum(1 for _ in shown)
    if rest:
        print(f"      and {rest} more of {count + rest} events; --events {_ALL} lists all")


def _explanation_document(uow: UnitOfWork, explained: LineExplanation) -> dict[str, Any]:
    line, invoice = explained.line, explained.invoice
    return {
        "invoice": invoice.number,
        "customer": invoice.customer,
        "line": line.line,
        "feature": line.feature,
        "exact_amount": plain(line.exact),
        "rounded_minor": line.net_minor,
        "tax_minor": line.tax_minor,
        "tax_code": line.tax_code,
        "tax_percent": plain(line.tax_percent),
        "rated_usage": [
            {
                "charge": usage.charge,
                "position": usage.position,
                "amount": plain(usage.row.amount),
                "quantity": plain(usage.row.quantity),
                "service": [usage.row.service.start.isoformat(), usage.row.service.end.isoformat()],
                "price_book": usage.row.book_hash,
                "price_book_version": usage.book_version,
                "tariff": usage.tariff,
                "corrects": usage.row.corrects,
                "detail": usage.row.detail,
                "events": [
                    {
                        "source": event.source,
                        "id": event.event_id,
                        "time": event.occurred_at.isoformat(),
                        "value": event.read,
                        "late": event.is_late,
                    }
                    for event in events_behind(uow, invoice.customer, usage)
                ],
            }
            for usage in explained.usages
        ],
    }
