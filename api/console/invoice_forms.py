"""What finance does with an invoice by a form: finalise, record a payment, credit, pay back, void, write off.

Each is the act of the API and of the command. What is refused is said on the invoice's own page, beside what was typed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import uuid_utils
from litestar import Controller, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.forms import Form, number_text, short_text, text
from api.console.pages import ConsoleRequest, actor_of, go_to, page
from api.console.sessions import has_role
from api.invoice_acts import (
    credit_invoice,
    finalise_drafts,
    pay_invoice,
    refund_of_invoice,
    void_invoice,
    write_off_invoice,
)
from api.problems import called, status_of
from api.services import Services
from billing.audit import Actor
from billing.credit_notes import billed_in_all, plan_credit
from billing.invoices import Invoice, InvoiceState
from billing.people import Role
from billing.repositories.credit_notes import CreditedLine, CreditNote, CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.settlements import SettlementRepository
from billing.settlements import Refundable, paid_back_out_of_credit, refundable
from billing.stripe.money_back import awaited_refunds
from billing.stripe.refunding import goes_through_stripe
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError, NotFoundError
from models.values.ids import check_external_id
from models.values.period import parse_instant

_LINE = "line."
Act = Callable[[UnitOfWork, Actor], object]


class InvoiceForms(Controller):
    """The finance door's acts."""

    path = "/finance/invoices/{invoice:str}"
    guards = (has_role(Role.FINANCE),)

    @post("/finalise", sync_to_thread=True)
    def finalise(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Give a draft its number and post it."""
        services: Services = state.services
        return _do(
            request, services, invoice, data, lambda uow, by: finalise_drafts(uow, [invoice], by, services.collect)
        )

    @post("/payments", sync_to_thread=True)
    def pay(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Record money that came in, once by its reference."""

        def act(uow: UnitOfWork, by: Actor) -> None:
            key, day = check_external_id(text(data, "reference"), "reference"), text(data, "paid_on")
            paid_at = parse_instant(day, "paid_on") if day else None
            with called(key="reference"):
                pay_invoice(uow, invoice, key, number_text(data, "amount"), by, paid_at=paid_at)

        return _do(request, state.services, invoice, data, act)

    @post("/credit-notes", sync_to_thread=True)
    def credit(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Issue a credit note over the amounts typed, once by the key its form came with."""

        def act(uow: UnitOfWork, by: Actor) -> None:
            key = f"console:{check_external_id(text(data, 'key'), 'key')}"
            nets = {name.removeprefix(_LINE): number_text(data, name) for name in data if name.startswith(_LINE)}
            lines = {line: net for line, net in nets.items() if net}
            credit_invoice(uow, invoice, key, short_text(data, "reason"), lines, by)

        return _do(request, state.services, invoice, data, act)

    @post("/refunds", sync_to_thread=True, guards=[has_role(Role.REFUND)])
    def refund(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Pay money back, once by the key its form came with: Stripe does, where it collected, unless somebody has."""

        def act(uow: UnitOfWork, by: Actor) -> None:
            key = f"console:{check_external_id(text(data, 'refund'), 'refund')}"
            processor = text(data, "processor") or None
            refund_of_invoice(uow, invoice, key, number_text(data, "amount"), by, processor=processor)

        return _do(request, state.services, invoice, data, act)

    @post("/void", sync_to_thread=True)
    def void(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Void an invoice of which nothing is paid."""
        reason = short_text(data, "reason")
        return _do(request, state.services, invoice, data, lambda uow, by: void_invoice(uow, invoice, reason, by))

    @post("/write-off", sync_to_thread=True)
    def write_off(self, invoice: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Give up what is open."""
        return _do(request, state.services, invoice, data, lambda uow, by: write_off_invoice(uow, invoice, by))


def invoice_page(
    request: ConsoleRequest,
    services: Services,
    name: str,
    *,
    refusal: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response[str]:
    """Show one invoice with its lines and what can be done with it. Raises NotFoundError.

    `refusal`: why what was `typed` was not done.
    """
    with services.database.reading(request.user.tenant) as uow:
        found = InvoiceRepository(uow).get(name)
        customer = CustomerRepository(uow).get(found.customer)
        settlements = SettlementRepository(uow).of(found.id)
        notes = CreditNoteRepository(uow).of_invoice(found.id)
        left = _creditable(uow, found, notes)
        back = refundable(uow, found)
        back_from_credit = paid_back_out_of_credit(uow, settlements, found.currency)
        awaited = [amount for of, amount in awaited_refunds(uow, found.customer, found.currency) if of == found.id]
        by_stripe = goes_through_stripe(uow, found)
        now = services.now(uow)
    return page(
        request, "invoice.html", status=200 if refusal is None else status_of(refusal), invoice=found,
        customer=customer, settlements=settlements, notes=notes, creditable=left, refusal=refusal, typed=typed or {},
        now=now, fresh_key=str(uuid_utils.uuid7()), acts=_acts(found, notes, left, back, now), refundable=back,
        back_from_credit=back_from_credit, awaited=awaited, by_stripe=by_stripe,
    )  # fmt: skip


def _acts(
    found: Invoice, notes: list[CreditNote], left: list[CreditedLine], back: Refundable, now: datetime
) -> set[str]:
    """Return what an invoice lends itself to; the act itself looks closer."""
    is_open = found.state is InvoiceState.FINALISED
    offered = {
        "finalise": found.state is InvoiceState.DRAFT and found.finalise_from <= now,
        "wait": found.state is InvoiceState.DRAFT and found.finalise_from > now,
        "pay": is_open or found.state is InvoiceState.UNCOLLECTIBLE,
        "credit": bool(left),
        "refund": back.is_something,
        "void": is_open and found.open_minor == found.total_minor and not notes,
        "write_off": is_open and found.open_minor > 0,
    }
    return {name for name, may in offered.items() if may}


def _creditable(uow: UnitOfWork, found: Invoice, notes: list[CreditNote]) -> list[CreditedLine]:
    """Return by line what a credit note over all that is left would take back."""
    if found.state not in {InvoiceState.FINALISED, InvoiceState.PAID}:
        return []
    return [each for each in plan_credit(found, notes, None, billed_in_all(uow, found)) if each.net_minor]


def _do(request: ConsoleRequest, services: Services, invoice: str, data: dict[str, Any], act: Act) -> Response[Any]:
    try:
        services.database.write(request.user.tenant, lambda uow: act(uow, actor_of(request, services.now(uow))))
    except NotFoundError:
        raise
    except DomainError as refusal:
        return invoice_page(request, services, invoice, refusal=refusal, typed=data)
    return go_to(f"/console/finance/invoices/{invoice}")
