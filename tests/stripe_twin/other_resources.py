"""Credit notes, transfers to partners, usage meters, the event log."""

from __future__ import annotations

from tests.stripe_twin import invoices, payments
from tests.stripe_twin.account import Account, Object, created_within, page
from tests.stripe_twin.form import Params
from tests.stripe_twin.problems import invalid, refused

_DAY = 86_400


def create_credit_note(account: Account, params: Params) -> Object:
    """POST /v1/credit_notes by `amount`: never more than the invoice; what was paid must be placed somewhere."""
    invoice = account.get("invoice", params.required("invoice"), "invoice")
    if invoice["status"] not in {"open", "paid", "uncollectible"}:
        raise refused("Credit notes are for finalized invoices", param="invoice")
    amount = params.integer("amount")
    if amount is None or amount <= 0:
        raise invalid("Missing required param: amount.", param="amount")
    earlier = sum(item["amount"] for item in account.all("credit_note") if item["invoice"] == invoice["id"])
    if earlier + amount > invoice["total"]:
        raise refused(f"The sum of credit notes is more than the invoice: {earlier + amount}", param="amount")
    after_payment = max(0, amount - invoice["amount_remaining"])
    refund_amount, outside = params.integer("refund_amount", 0), params.integer("out_of_band_amount", 0)
    credit_amount = params.integer("credit_amount", 0)
    assert refund_amount is not None
    assert outside is not None
    assert credit_amount is not None
    if refund_amount + outside + credit_amount != after_payment:
        raise refused(f"refund_amount, credit_amount and out_of_band_amount must sum to {after_payment}")
    invoices.credit(account, invoice, amount)
    made = []
    if refund_amount:
        intent = account.objects[_paid_intent(account, invoice["id"])]
        made.append(payments.refund(account, intent, refund_amount, {}))
    body = _credit_note(account, invoice, amount, after_payment) | {
        "metadata": params.metadata(),
        "memo": params.text("memo"),
        "out_of_band_amount": outside or None,
        "refunds": [{"amount_refunded": item["amount"], "refund": item["id"], "type": "refund"} for item in made],
    }
    account.add("credit_note", body)
    account.emit("credit_note.created", body)
    return body


def list_credit_notes(account: Account, params: Params) -> Object:
    """GET /v1/credit_notes."""
    invoice = params.text("invoice")
    found = [item for item in reversed(account.all("credit_note")) if invoice in {None, item["invoice"]}]
    return page(created_within(found, params), params, "/v1/credit_notes")


def create_transfer(account: Account, params: Params) -> Object:
    """POST /v1/transfers to a connected account."""
    destination = account.get("account", params.required("destination"), "destination")
    amount = params.integer("amount")
    if amount is None or amount < 1:
        raise invalid("This value must be greater than or equal to 1.", param="amount")
    identity = account.new_id("tr")
    body: Object = {
        "id": identity,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": account.timestamp(),
        "currency": params.required("currency"),
        "description": params.text("description"),
        "destination": destination["id"],
        "livemode": False,
        "metadata": params.metadata(),
        "reversals": {"object": "list", "data": [], "has_more": False, "url": f"/v1/transfers/{identity}/reversals"},
        "reversed": False,
        "source_transaction": None,
        "transfer_group": params.text("transfer_group"),
    }
    account.add("transfer", body)
    account.emit("transfer.created", body)
    return body


def list_transfers(account: Account, params: Params) -> Object:
    """GET /v1/transfers."""
    destination, group = params.text("destination"), params.text("transfer_group")
    found = [
        item
        for item in reversed(account.all("transfer"))
        if destination in {None, item["destination"]} and group in {None, item["transfer_group"]}
    ]
    return page(created_within(found, params), params, "/v1/transfers")


def create_meter_event(account: Account, params: Params) -> Object:
    """POST /v1/billing/meter_events: an identifier counts once within a day; late by 35 days at most."""
    now = account.timestamp()
    stamp = params.integer("timestamp", now)
    assert stamp is not None
    if not now - 35 * _DAY <= stamp <= now + 300:
        raise refused("The timestamp must be within the past 35 days or at most 5 minutes ahead", param="timestamp")
    payload = params.child("payload")
    if payload is None or "stripe_customer_id" not in payload.tree or "value" not in payload.tree:
        raise invalid("payload needs stripe_customer_id and value", param="payload")
    account.get("customer", payload.text("stripe_customer_id"), "payload[stripe_customer_id]")
    identifier = params.text("identifier") or account.new_id("id")
    for earlier in account.all("billing.meter_event"):
        if earlier["identifier"] == identifier and earlier["created"] > now - _DAY:
            raise refused(f"An event already exists with identifier {identifier}", param="identifier")
    body: Object = {
        "id": account.new_id("mtr_evt"),
        "object": "billing.meter_event",
        "created": now,
        "event_name": params.required("event_name"),
        "identifier": identifier,
        "livemode": False,
        "payload": dict(payload.tree),
        "timestamp": stamp,
    }
    account.add("billing.meter_event", body)
    return {key: value for key, value in body.items() if key != "id"}


def list_events(account: Account, params: Params) -> Object:
    """GET /v1/events, newest first."""
    kind, kinds = params.text("type"), set(params.texts("types"))
    found = [
        event
        for event in reversed(account.events)
        if kind in {None, event["type"]} and (not kinds or event["type"] in kinds)
    ]
    return page(created_within(found, params), params, "/v1/events")


def retrieve_event(account: Account, params: Params, event: str) -> Object:
    """GET /v1/events/{id}."""
    found = [item for item in account.events if item["id"] == event]
    return found[0] if found else account.get("event", event, "id")


def _paid_intent(account: Account, invoice: str) -> str:
    paid = [item for item in account.all("invoice_payment") if item["invoice"] == invoice]
    if not paid:
        raise refused("There is no payment to refund", param="refund_amount")
    return str(paid[-1]["payment"]["payment_intent"])


def _credit_note(account: Account, invoice: Object, amount: int, after_payment: int) -> Object:
    identity = account.new_id("cn")
    before = amount - after_payment
    kind = "mixed" if before and after_payment else "post_payment" if after_payment else "pre_payment"
    return {
        "id": identity,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": account.timestamp(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": account.timestamp(),
        "invoice": invoice["id"],
        "lines": {"object": "list", "data": [], "has_more": False, "url": f"/v1/credit_notes/{identity}/lines"},
        "livemode": False,
        "number": f"CN-{len(account.by_kind['credit_note']) + 1:04d}",
        "pdf": "https://pay.stripe.invalid/credit_note.pdf",
        "post_payment_amount": after_payment,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": None,
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": kind,
        "voided_at": None,
    }
