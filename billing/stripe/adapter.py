"""The billing provider on Stripe's SDK. Sends what it is told once and answers what came back: it never retries.

Parameters keep to names that the SDK's API version and the published description share. Amounts are integers;
decimals travel as plain strings, as the SDK would print them with exponents.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import stripe

from billing.billing_provider import (
    AlreadyThereError,
    DraftInvoice,
    MissingError,
    RefusedError,
    RemoteDispute,
    RemoteEvent,
    RemoteFee,
    RemoteInvoice,
    RemoteLine,
    RemoteRefund,
    RemoteTransfer,
)
from billing.stripe import reading
from billing.stripe.errors import translated
from billing.stripe.reading import FAILED_REFUND, LINE, REF
from billing.stripe.settings import StripeSettings
from billing.stripe.transport import Transport

_PAGE = 100
_PAYMENTS = ["payments"]
_NUMBER_CHARS = 26
_OURS = "Alacarte"
_IDENTIFIER = "identifier"  # A meter event is refused for it when, and only when, it was taken before.


_BEGUN_REFUND = {"succeeded", "pending", *FAILED_REFUND}


class StripeProvider:
    """A BillingProvider. Close it with `close`."""

    def __init__(self, settings: StripeSettings, take_token: Callable[[], Awaitable[None]]) -> None:
        self._transport = Transport(take_token, settings.timeout_seconds)
        client = stripe.StripeClient(
            settings.api_key,
            base_addresses={"api": settings.base_address},
            http_client=self._transport,
            max_network_retries=0,
        )
        self._v1 = client.v1

    async def close(self) -> None:
        """Close connections."""
        await self._transport.close_async()

    # Customers.

    async def create_customer(self, ref: str, name: str, email: str, key: str) -> str:
        """POST /v1/customers."""
        params: Any = {"metadata": {REF: ref}, **_printed(name, email)}
        body = await _ask(self._v1.customers.create_async(params, _keyed(key)))
        return str(body["id"])

    async def update_customer(self, customer: str, name: str, email: str, key: str) -> str:
        """POST /v1/customers/{id}."""
        body = await _ask(self._v1.customers.update_async(customer, _printed(name, email), _keyed(key)))
        return str(body["id"])

    async def find_customer(self, ref: str, since: datetime) -> str | None:
        """Walk GET /v1/customers by creation time; search would lag behind."""
        async for body in _walk(self._v1.customers.list_async, {"created": _from(since)}):
            if reading.ref_of(body) == ref:
                return str(body["id"])
        return None

    async def has_payment_method(self, customer: str) -> bool:
        """GET /v1/customers/{id}."""
        body = await _ask(self._v1.customers.retrieve_async(customer))
        settings = body.get("invoice_settings") or {}
        return bool(settings.get("default_payment_method") or body.get("default_source"))

    # Invoices.

    async def create_draft(self, draft: DraftInvoice, key: str) -> RemoteInvoice:
        """POST /v1/invoices, frozen: nothing advances it and no pending item joins it."""
        params: dict[str, Any] = {
            "customer": draft.customer,
            "currency": draft.currency.lower(),
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": f"{_OURS} {draft.number}",
            "metadata": {REF: draft.ref, "ala_number": draft.number},
        }
        if len(draft.number) <= _NUMBER_CHARS:
            params["number"] = draft.number
        if draft.days_until_due is None:
            params["collection_method"] = "charge_automatically"
        else:
            params |= {"collection_method": "send_invoice", "days_until_due": draft.days_until_due}
        return reading.invoice(await _ask(self._v1.invoices.create_async(params, _keyed(key))))  # type: ignore[arg-type]

    async def find_invoice(self, ref: str, customer: str, since: datetime) -> RemoteInvoice | None:
        """Walk GET /v1/invoices by customer and creation time."""
        window = {"customer": customer, "created": _from(since)}
        async for body in _walk(self._v1.invoices.list_async, window):
            if reading.ref_of(body) == ref:
                return reading.invoice(body)
        return None

    async def fetch_invoice(self, invoice: str) -> RemoteInvoice:
        """GET /v1/invoices/{id} with its payments."""
        body = await _ask(self._v1.invoices.retrieve_async(invoice, {"expand": _PAYMENTS}))
        if body.get("deleted"):
            raise MissingError("the invoice is deleted", reason=invoice)
        return await self._with_all_payments(body)

    async def add_lines(self, invoice: str, lines: Sequence[RemoteLine], key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/add_lines."""
        params: Any = {"lines": [_line(line) for line in lines]}
        return reading.invoice(await _ask(self._v1.invoices.add_lines_async(invoice, params, _keyed(key))))

    async def fetch_lines(self, invoice: str) -> tuple[RemoteLine, ...]:
        """Walk GET /v1/invoices/{id}/lines: the invoice itself shows only the first ten."""

        async def _list(params: Any) -> Any:  # noqa: ANN401
            return await self._v1.invoices.line_items.list_async(invoice, params)

        return tuple([reading.line(body) async for body in _walk(_list, {})])

    async def finalise(self, invoice: str, key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/finalize."""
        params: Any = {"auto_advance": False, "expand": _PAYMENTS}
        return reading.invoice(await _ask(self._v1.invoices.finalize_invoice_async(invoice, params, _keyed(key))))

    async def pay(self, invoice: str, key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/pay."""
        params: Any = {"off_session": True, "expand": _PAYMENTS}
        return await self._with_all_payments(await _ask(self._v1.invoices.pay_async(invoice, params, _keyed(key))))

    async def send(self, invoice: str, key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/send."""
        return reading.invoice(await _ask(self._v1.invoices.send_invoice_async(invoice, {}, _keyed(key))))

    async def void(self, invoice: str, key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/void."""
        return reading.invoice(await _ask(self._v1.invoices.void_invoice_async(invoice, {}, _keyed(key))))

    async def mark_uncollectible(self, invoice: str, key: str) -> RemoteInvoice:
        """POST /v1/invoices/{id}/mark_uncollectible."""
        return reading.invoice(await _ask(self._v1.invoices.mark_uncollectible_async(invoice, {}, _keyed(key))))

    async def delete_draft(self, invoice: str) -> None:
        """DELETE /v1/invoices/{id}; a draft that is gone is a success."""
        try:
            await _ask(self._v1.invoices.delete_async(invoice))
        except MissingError:
            return

    # Credit, refunds, disputes, fees.

    async def credit(self, invoice: str, ref: str, amount: int, settled_outside: int, key: str) -> str:
        """POST /v1/credit_notes."""
        params: Any = {"invoice": invoice, "amount": amount, "metadata": {REF: ref}, "email_type": "none"}
        if settled_outside:
            params["out_of_band_amount"] = settled_outside
        return str((await _ask(self._v1.credit_notes.create_async(params, _keyed(key))))["id"])

    async def find_credit(self, invoice: str, ref: str) -> str | None:
        """Walk GET /v1/credit_notes of the invoice."""
        async for body in _walk(self._v1.credit_notes.list_async, {"invoice": invoice}):
            if reading.ref_of(body) == ref:
                return str(body["id"])
        return None

    async def refund(self, intent: str, ref: str, amount: int, key: str) -> RemoteRefund:
        """POST /v1/refunds."""
        params: Any = {"payment_intent": intent, "amount": amount, "metadata": {REF: ref}}
        return reading.refund(await _ask(self._v1.refunds.create_async(params, _keyed(key))))

    async def find_refund(self, intent: str, ref: str) -> RemoteRefund | None:
        """Walk GET /v1/refunds of the payment."""
        async for body in _walk(self._v1.refunds.list_async, {"payment_intent": intent}):
            if reading.ref_of(body) == ref:
                return reading.refund(body)
        return None

    async def fetch_refunds(self, intent: str) -> tuple[RemoteRefund, ...]:
        """Walk GET /v1/refunds of the payment, those made by hand and those that failed included."""
        found = _walk(self._v1.refunds.list_async, {"payment_intent": intent})
        return tuple([reading.refund(body) async for body in found if body["status"] in _BEGUN_REFUND])

    async def fetch_fee(self, intent: str) -> RemoteFee | None:
        """GET /v1/payment_intents/{id} down to the balance transaction of its charge."""
        params: Any = {"expand": ["latest_charge.balance_transaction"]}
        return reading.fee(await _ask(self._v1.payment_intents.retrieve_async(intent, params)))

    async def fetch_dispute(self, dispute: str) -> RemoteDispute:
        """GET /v1/disputes/{id}."""
        return reading.dispute(await _ask(self._v1.disputes.retrieve_async(dispute)))

    async def invoice_of_payment(self, intent: str) -> str | None:
        """GET /v1/invoice_payments of the payment intent."""
        params = {"payment": {"type": "payment_intent", "payment_intent": intent}}
        async for body in _walk(self._v1.invoice_payments.list_async, params):
            return str(body["invoice"])
        return None

    # Partners and meters.

    async def transfer(self, destination: str, ref: str, amount: int, currency: str, key: str) -> RemoteTransfer:
        """POST /v1/transfers."""
        params: Any = {
            "destination": destination,
            "amount": amount,
            "currency": currency.lower(),
            "metadata": {REF: ref},
        }
        return reading.transfer(await _ask(self._v1.transfers.create_async(params, _keyed(key))))

    async def find_transfer(self, destination: str, ref: str, since: datetime) -> RemoteTransfer | None:
        """Walk GET /v1/transfers by destination and creation time."""
        window = {"destination": destination, "created": _from(since)}
        async for body in _walk(self._v1.transfers.list_async, window):
            if reading.ref_of(body) == ref:
                return reading.transfer(body)
        return None

    async def record_usage(self, customer: str, meter: str, ref: str, value: str, at: datetime, key: str) -> str:
        """POST /v1/billing/meter_events; the identifier keeps Stripe from counting it twice."""
        params: Any = {
            "event_name": meter,
            "identifier": ref,
            "timestamp": int(at.timestamp()),
            "payload": {"stripe_customer_id": customer, "value": value},
        }
        try:
            body = await _ask(self._v1.billing.meter_events.create_async(params, _keyed(key)))
        except RefusedError as error:
            if _IDENTIFIER in error.rule:
                raise AlreadyThereError(error.rule, status=error.status, request_id=error.request_id) from error
            raise
        return str(body["identifier"])

    # Walks for reconciliation.

    async def invoices_since(self, since: datetime) -> AsyncIterator[RemoteInvoice]:
        """Walk GET /v1/invoices by creation time."""
        async for body in _walk(self._v1.invoices.list_async, {"created": _from(since)}):
            yield reading.invoice(body)

    async def events_since(self, since: datetime) -> AsyncIterator[RemoteEvent]:
        """Walk GET /v1/events by creation time."""
        async for body in _walk(self._v1.events.list_async, {"created": _from(since)}):
            yield reading.event(body)

    async def _with_all_payments(self, body: Mapping[str, Any]) -> RemoteInvoice:
        """Read an invoice; where more payments were made than it shows, fetch them all."""
        if (body.get("payments") or {}).get("has_more"):
            found = _walk(self._v1.invoice_payments.list_async, {"invoice": body["id"], "status": "paid"})
            body = {**body, "payments": {"data": [item async for item in found]}}
        return reading.invoice(body)


async def _ask(call: Awaitable[Any]) -> Mapping[str, Any]:
    """Await a call of the SDK; return the object as plain dictionaries. Raises our ProviderErrors."""
    try:
        answer = await call
    except stripe.StripeError as error:
        raise translated(error) from error
    body: Mapping[str, Any] = answer.to_dict()
    return body


async def _walk(fetch: Callable[[Any], Awaitable[Any]], params: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    """Walk all pages of a list."""
    cursor: dict[str, Any] = {}
    while True:
        page = await _ask(fetch({**params, "limit": _PAGE, **cursor}))
        for body in page["data"]:
            yield body
        if not page["has_more"]:
            return
        cursor = {"starting_after": page["data"][-1]["id"]}


def _keyed(key: str) -> Any:  # noqa: ANN401
    return {"idempotency_key": key}


def _from(since: datetime) -> dict[str, int]:
    return {"gte": int(since.timestamp())}


def _printed(name: str, email: str) -> Any:  # noqa: ANN401
    return {"name": name} | ({"email": email} if email else {})


def _line(line: RemoteLine) -> dict[str, Any]:
    start, end = line.period
    params: dict[str, Any] = {
        "amount": line.amount,
        "description": line.description,
        "discountable": False,
        "metadata": {LINE: line.ref, **dict(line.detail)},
        "period": {"start": start, "end": end},
    }
    if line.taxes:
        params["tax_amounts"] = [
            {
                "amount": tax.amount,
                "taxable_amount": line.amount,
                "tax_rate_data": {"display_name": tax.name, "percentage": tax.percent, "inclusive": False},
            }
            for tax in line.taxes
        ]
    return params
