"""What each operation does at the provider, and how one finds out whether it was done before.

`perform` may run again with the same key and the same content; the provider then answers what it answered first.
`find` tells whether the operation's effect is there: it decides where a key proves nothing any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.billing_provider import (
    AlreadyThereError,
    BillingProvider,
    BusyError,
    DeclinedError,
    DraftInvoice,
    MissingError,
    RefusedError,
    RemoteFee,
    RemoteInvoice,
    RemoteRefund,
    RemoteStatus,
    RemoteTransfer,
)
from billing.stripe.operation_params import lines_of
from billing.stripe.operations import Kind, Operation
from billing.stripe.status import CollectionStatus
from billing.stripe.verification import mismatch

_CLOCK_SLACK = timedelta(minutes=10)
NO_PAYMENT_METHOD = "no_payment_method"


class VerificationError(RefusedError):
    """The invoice at the provider is not the invoice that was sent: it is not finalised."""

    code = "provider_invoice_differs"


@dataclass(frozen=True, slots=True)
class Known:
    """What our side knows when an operation starts: the provider's ids, as far as there are any."""

    customer: str | None = None
    invoice: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation has brought about."""

    stripe_id: str | None = None
    invoice: RemoteInvoice | None = None
    reached: CollectionStatus | None = None
    declined: DeclinedError | None = None
    refund: RemoteRefund | None = None
    fee: RemoteFee | None = None
    transfer: RemoteTransfer | None = None


Step = Callable[[BillingProvider, Operation, Known], Awaitable[Done]]
Search = Callable[[BillingProvider, Operation, Known], Awaitable[Done | None]]


async def perform(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    """Do it. Raises ProviderError."""
    return await _STEPS[operation.kind](provider, operation, known)


async def find(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    """Return what is there of it, None when nothing is. Raises ProviderError."""
    return await _SEARCHES.get(operation.kind, _nothing_to_find)(provider, operation, known)


def _customer(known: Known) -> str:
    if known.customer is None:
        raise RefusedError("the customer is not known to the provider")
    return known.customer


def _invoice(known: Known) -> str:
    if known.invoice is None:
        raise RefusedError("the invoice is not known to the provider")
    return known.invoice


def _since(operation: Operation) -> datetime:
    """Return from when to look: the operation's creation, allowing for a clock that differs."""
    return operation.created_at - _CLOCK_SLACK


def _seen(invoice: RemoteInvoice) -> Done:
    return Done(stripe_id=invoice.id, invoice=invoice)


# Customers.


async def _create_customer(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    params = operation.params
    return Done(await provider.create_customer(params["ref"], params["name"], params["email"], operation.key))


async def _find_customer(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    found = await provider.find_customer(operation.params["ref"], _since(operation))
    return None if found is None else Done(found)


async def _update_customer(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    params = operation.params
    return Done(await provider.update_customer(_customer(known), params["name"], params["email"], operation.key))


# Invoices.


async def _create_draft(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    params = operation.params
    draft = DraftInvoice(
        params["ref"], _customer(known), params["currency"], params["number"], params["days_until_due"]
    )
    return _seen(await provider.create_draft(draft, operation.key))


async def _find_draft(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    found = await provider.find_invoice(operation.params["ref"], _customer(known), _since(operation))
    return None if found is None else _seen(found)


async def _add_lines(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    added = await provider.add_lines(_invoice(known), lines_of(operation.params), operation.key)
    return Done(added.id, invoice=added, reached=CollectionStatus.FILLED)


async def _find_lines(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    there = {line.ref for line in await provider.fetch_lines(_invoice(known))}
    wanted = {line.ref for line in lines_of(operation.params)}
    if wanted <= there:
        return Done(known.invoice, reached=CollectionStatus.FILLED)
    if wanted & there:
        raise RefusedError("some of the lines are there and some are not")
    return None


async def _verify(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    invoice = await provider.fetch_invoice(_invoice(known))
    lines = await provider.fetch_lines(invoice.id)
    difference = mismatch(operation.params, invoice, lines)
    if difference is not None and invoice.status is RemoteStatus.DRAFT:
        raise VerificationError(difference)
    return Done(invoice.id, invoice=invoice, reached=CollectionStatus.VERIFIED)


async def _finalise(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    return _seen(await provider.finalise(_invoice(known), operation.key))


async def _find_finalised(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    invoice = await provider.fetch_invoice(_invoice(known))
    return None if invoice.status is RemoteStatus.DRAFT else _seen(invoice)


async def _pay(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    try:
        return _seen(await provider.pay(_invoice(known), operation.key))
    except DeclinedError as error:
        return Done(known.invoice, declined=error)
    except MissingError:
        raise
    except RefusedError as error:
        if await _find_paid(provider, operation, known) is None and not await provider.has_payment_method(
            _customer(known)
        ):
            return Done(
                known.invoice, declined=DeclinedError(error.rule, status=error.status, reason=NO_PAYMENT_METHOD)
            )
        raise


async def _find_paid(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    invoice = await provider.fetch_invoice(_invoice(known))
    return _seen(invoice) if invoice.status in {RemoteStatus.PAID, RemoteStatus.VOID} else None


async def _send(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    return _seen(await provider.send(_invoice(known), operation.key))


async def _void(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    """Void what is open, delete what is still a draft; where nothing was created there is nothing to do."""
    if known.invoice is None:
        return Done(reached=CollectionStatus.VOID)
    found = await _find_void(provider, operation, known)
    if found is not None:
        return found
    if (await provider.fetch_invoice(known.invoice)).status is RemoteStatus.DRAFT:
        await provider.delete_draft(known.invoice)
        return Done(known.invoice, reached=CollectionStatus.VOID)
    return _seen(await provider.void(known.invoice, operation.key))


async def _find_void(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    try:
        invoice = await provider.fetch_invoice(_invoice(known))
    except MissingError:
        return Done(known.invoice, reached=CollectionStatus.VOID)
    return _seen(invoice) if invoice.status is RemoteStatus.VOID else None


async def _mark_uncollectible(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    return _seen(await provider.mark_uncollectible(_invoice(known), operation.key))


async def _find_uncollectible(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    invoice = await provider.fetch_invoice(_invoice(known))
    return None if invoice.status in {RemoteStatus.DRAFT, RemoteStatus.OPEN} else _seen(invoice)


async def _read(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    return _seen(await provider.fetch_invoice(_invoice(known)))


# Money back, fees, partners, meters.


async def _credit(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    """Look first on a repeat: what remains open has changed, and with it what would be sent."""
    if operation.attempts > 1:
        found = await _find_credit(provider, operation, known)
        if found is not None:
            return found
    invoice = await provider.fetch_invoice(_invoice(known))
    amount = operation.params["amount"]
    outside = max(0, amount - invoice.amount_remaining)
    await provider.credit(invoice.id, operation.params["ref"], amount, outside, operation.key)
    return _seen(await provider.fetch_invoice(invoice.id))


async def _find_credit(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    if await provider.find_credit(_invoice(known), operation.params["ref"]) is None:
        return None
    return _seen(await provider.fetch_invoice(_invoice(known)))


async def _refund(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    params = operation.params
    refund = await provider.refund(params["intent"], params["ref"], params["amount"], operation.key)
    return Done(refund.id, refund=refund)


async def _find_refund(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    found = await provider.find_refund(operation.params["intent"], operation.params["ref"])
    return None if found is None else Done(found.id, refund=found)


async def _read_fee(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    fee = await provider.fetch_fee(operation.params["intent"])
    if fee is None:
        raise BusyError("the fee is not known yet")
    return Done(operation.params["intent"], fee=fee)


async def _transfer(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    to, amount = (operation.params[name] for name in ("destination", "amount"))
    transfer = await provider.transfer(to, operation.params["ref"], amount, operation.params["currency"], operation.key)
    return Done(transfer.id, transfer=transfer)


async def _find_transfer(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    found = await provider.find_transfer(operation.params["destination"], operation.params["ref"], _since(operation))
    return None if found is None else Done(found.id, transfer=found)


async def _record_usage(provider: BillingProvider, operation: Operation, known: Known) -> Done:
    """Record it; nothing can be searched for, but the reference it bears counts once."""
    params = operation.params
    at = datetime.fromtimestamp(params["at"], UTC)
    customer, meter = _customer(known), params["meter"]
    try:
        return Done(await provider.record_usage(customer, meter, params["ref"], params["value"], at, operation.key))
    except AlreadyThereError:
        return Done(params["ref"])


async def _nothing_to_find(provider: BillingProvider, operation: Operation, known: Known) -> Done | None:
    """Answer None: reading leaves nothing behind, doing it again is harmless."""
    return None


_STEPS: dict[Kind, Step] = {
    Kind.CREATE_CUSTOMER: _create_customer,
    Kind.UPDATE_CUSTOMER: _update_customer,
    Kind.CREATE_DRAFT: _create_draft,
    Kind.ADD_LINES: _add_lines,
    Kind.VERIFY: _verify,
    Kind.FINALISE: _finalise,
    Kind.PAY: _pay,
    Kind.SEND: _send,
    Kind.VOID: _void,
    Kind.MARK_UNCOLLECTIBLE: _mark_uncollectible,
    Kind.CREDIT: _credit,
    Kind.REFUND: _refund,
    Kind.READ: _read,
    Kind.READ_FEE: _read_fee,
    Kind.TRANSFER: _transfer,
    Kind.RECORD_USAGE: _record_usage,
}
_SEARCHES: dict[Kind, Search] = {
    Kind.CREATE_CUSTOMER: _find_customer,
    Kind.CREATE_DRAFT: _find_draft,
    Kind.ADD_LINES: _find_lines,
    Kind.FINALISE: _find_finalised,
    Kind.PAY: _find_paid,
    Kind.VOID: _find_void,
    Kind.MARK_UNCOLLECTIBLE: _find_uncollectible,
    Kind.CREDIT: _find_credit,
    Kind.REFUND: _find_refund,
    Kind.TRANSFER: _find_transfer,
}
