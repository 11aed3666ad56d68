"""Standalone invoices and their state machine: draft -> open -> paid | uncollectible | void."""

from __future__ import annotations

import copy
from typing import Any

from tests.stripe_twin import payments
from tests.stripe_twin.account import Account, Object, created_within, page
from tests.stripe_twin.form import Params
from tests.stripe_twin.problems import ProblemError, invalid, missing, refused

_INLINE_LINES = 10
_MINIMUM_CHARGE = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "chf": 50, "sek": 300, "kwd": 100, "krw": 100}
_MULTIPLE = {"bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10, "isk": 100, "ugx": 100}


def create(account: Account, params: Params) -> Object:
    """POST /v1/invoices."""
    customer = account.get("customer", params.required("customer"), "customer")
    collection = params.text("collection_method") or "charge_automatically"
    days = params.integer("days_until_due")
    if (collection == "send_invoice") != (days is not None):
        raise invalid("days_until_due is for collection_method=send_invoice, and required there")
    if params.text("pending_invoice_items_behavior") not in {None, "exclude"}:
        raise invalid("the twin holds no pending invoice items", param="pending_invoice_items_behavior")
    number = params.text("number")
    if number is not None and any(item["number"] == number for item in account.all("invoice")):
        raise refused(f"Invoice number {number} is taken", param="number")
    now = account.timestamp()
    body = _blank(account.new_id("in"), now) | {
        "auto_advance": params.flag("auto_advance", default=False),
        "collection_method": collection,
        "currency": params.text("currency") or "usd",
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "default_payment_method": params.text("default_payment_method"),
        "description": params.text("description"),
        "due_date": None if days is None else now + days * 86_400,
        "footer": params.text("footer"),
        "metadata": params.metadata(),
        "number": number,
    }
    account.add("invoice", body)
    account.emit("invoice.created", render(account, body))
    return render(account, body)


def add_lines(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/add_lines: all of them or none."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"draft"}, "This invoice is no longer editable", code="invoice_not_editable")
    fresh = [_line(account, body, line) for line in params.items("lines")]
    if not fresh:
        raise invalid("Missing required param: lines.", param="lines", code="parameter_missing")
    if len(account.lines[invoice]) + len(fresh) > account.line_cap:
        raise refused(f"You can't add more than {account.line_cap} items to an invoice", param="lines")
    account.lines[invoice].extend(fresh)
    _total(account, body)
    account.emit("invoice.updated", render(account, body))
    return render(account, body)


def retrieve(account: Account, params: Params, invoice: str) -> Object:
    """GET /v1/invoices/{invoice}."""
    return render(account, account.get("invoice", invoice, "invoice"), params)


def list_lines(account: Account, params: Params, invoice: str) -> Object:
    """GET /v1/invoices/{invoice}/lines."""
    account.get("invoice", invoice, "invoice")
    return page(account.lines[invoice], params, f"/v1/invoices/{invoice}/lines")


def listing(account: Account, params: Params) -> Object:
    """GET /v1/invoices, newest first."""
    customer, status = params.text("customer"), params.text("status")
    found = [
        item
        for item in reversed(account.all("invoice"))
        if customer in {None, item["customer"]} and status in {None, item["status"]}
    ]
    shown = page(created_within(found, params), params, "/v1/invoices")
    return shown | {"data": [render(account, item, params, "data.") for item in shown["data"]]}


def finalize(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/finalize. A total below the minimum charge goes to the customer's balance."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"draft"}, "This invoice is already finalized", code="invoice_not_editable")
    if body["total"] % _MULTIPLE.get(body["currency"], 1):
        raise refused(f"Amounts in {body['currency']} must be a multiple of {_MULTIPLE[body['currency']]}")
    if not account.lines[invoice]:
        raise refused("Nothing to invoice", code="invoice_no_customer_line_items")
    finalized = [item for item in account.all("invoice") if item["status"] != "draft"]
    body["number"] = body["number"] or f"TWIN-{len(finalized) + 1:04d}"
    body["status"] = "open"
    body["auto_advance"] = params.flag("auto_advance", default=body["auto_advance"])
    body["effective_at"] = account.timestamp()
    body["status_transitions"]["finalized_at"] = account.timestamp()
    body["hosted_invoice_url"] = f"https://invoice.stripe.invalid/{invoice}"
    account.emit("invoice.finalized", render(account, body))
    if body["total"] < _MINIMUM_CHARGE.get(body["currency"], 50):
        customer = account.get("customer", body["customer"])
        customer["balance"] += body["total"]
        body["ending_balance"] = customer["balance"]
        body["amount_due"] = body["amount_remaining"] = 0
        _mark_paid(account, body)
    return render(account, body, params)


def pay(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/pay with the default card; a decline is a 402 and leaves it open."""
    body = account.get("invoice", invoice, "invoice")
    if body["status"] == "paid":
        raise refused("Invoice is already paid", code="invoice_already_paid")
    if body["status"] == "draft":
        finalize(account, Params({}), invoice)
    _require(body, {"open", "uncollectible"}, f"You cannot pay an invoice that is {body['status']}")
    customer = account.get("customer", body["customer"])
    method = (
        params.text("payment_method")
        or body["default_payment_method"]
        or customer["invoice_settings"]["default_payment_method"]
    )
    if method is None:
        raise refused("There is no default_payment_method set on this Customer or Invoice.")
    body["attempted"] = True
    body["attempt_count"] += 1
    try:
        intent = payments.charge_customer(
            account, customer, body["amount_remaining"], body["currency"], account.get("payment_method", method)
        )
    except ProblemError:
        account.emit("invoice.payment_failed", render(account, body))
        raise
    settle(account, body, intent, is_default=True)
    return render(account, body, params)


def settle(account: Account, body: Object, intent: Object, *, is_default: bool) -> None:
    """Book a successful payment on the invoice; marks it paid when nothing remains."""
    payments.pay_invoice(account, body, intent, is_default=is_default)
    paid = body["amount_paid"] + intent["amount_received"]
    body["amount_overpaid"] = max(0, paid - body["amount_due"])
    body["amount_paid"] = paid
    body["amount_remaining"] = max(0, body["amount_due"] - paid)
    if body["amount_remaining"] == 0:
        _mark_paid(account, body)
    else:
        account.emit("invoice.updated", render(account, body))


def attach_payment(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/attach_payment: a payment made elsewhere counts towards the invoice."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"open", "uncollectible"}, f"You cannot attach a payment to an invoice that is {body['status']}")
    intent = account.get("payment_intent", params.required("payment_intent"), "payment_intent")
    if intent["status"] != "succeeded":
        raise refused("The PaymentIntent has not succeeded", param="payment_intent")
    if any(item["payment"]["payment_intent"] == intent["id"] for item in account.all("invoice_payment")):
        raise refused("The PaymentIntent is attached already", param="payment_intent")
    settle(account, body, intent, is_default=False)
    return render(account, body, params)


def send(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/send."""
    body = account.get("invoice", invoice, "invoice")
    if body["collection_method"] != "send_invoice":
        raise refused("You can only manually send an invoice if its collection method is 'send_invoice'")
    if body["status"] == "draft":
        finalize(account, Params({}), invoice)
    account.emit("invoice.sent", render(account, body))
    return render(account, body)


def void(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/void."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"open", "uncollectible"}, "You can only void open or uncollectible invoices")
    if body["amount_paid"]:
        raise refused("You can't void an invoice that has been paid in part")
    body["status"] = "void"
    body["status_transitions"]["voided_at"] = account.timestamp()
    account.emit("invoice.voided", render(account, body))
    return render(account, body)


def mark_uncollectible(account: Account, params: Params, invoice: str) -> Object:
    """POST /v1/invoices/{invoice}/mark_uncollectible."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"open"}, "You can only mark open invoices as uncollectible")
    body["status"] = "uncollectible"
    body["status_transitions"]["marked_uncollectible_at"] = account.timestamp()
    account.emit("invoice.marked_uncollectible", render(account, body))
    return render(account, body)


def delete(account: Account, params: Params, invoice: str) -> Object:
    """DELETE /v1/invoices/{invoice}: drafts only."""
    body = account.get("invoice", invoice, "invoice")
    _require(body, {"draft"}, "You can only delete draft invoices", code="invoice_not_editable")
    body["deleted"] = True
    account.emit("invoice.deleted", render(account, {**body}))
    return {"id": invoice, "object": "invoice", "deleted": True}


def credit(account: Account, body: Object, amount: int) -> int:
    """Take a credit note off what remains; return what went beyond it. Paid off by credit alone means paid."""
    before = min(amount, body["amount_remaining"])
    body["amount_remaining"] -= before
    body["amount_due"] -= before
    body["pre_payment_credit_notes_amount"] += before
    body["post_payment_credit_notes_amount"] += amount - before
    if before and body["amount_remaining"] == 0 and body["status"] == "open":
        _mark_paid(account, body)
    return amount - before


def render(account: Account, body: Object, params: Params | None = None, prefix: str = "") -> Object:
    """Return the invoice as the API shows it: the first ten lines inline, payments only when expanded."""
    lines = account.lines[body["id"]]
    shown = {key: value for key, value in body.items() if key != "deleted"}
    shown["lines"] = {
        "object": "list",
        "data": lines[:_INLINE_LINES],
        "has_more": len(lines) > _INLINE_LINES,
        "url": f"/v1/invoices/{body['id']}/lines",
    }
    if params is not None and f"{prefix}payments" in params.texts("expand"):
        found = [item for item in account.all("invoice_payment") if item["invoice"] == body["id"]]
        shown["payments"] = {
            "object": "list",
            "data": found[:_INLINE_LINES],
            "has_more": len(found) > _INLINE_LINES,
            "url": "/v1/invoice_payments",
        }
    return copy.deepcopy(shown)


def _require(body: Object, allowed: set[str], message: str, code: str | None = None) -> None:
    if body["status"] not in allowed:
        raise refused(message, code=code)


def _mark_paid(account: Account, body: Object) -> None:
    body["status"] = "paid"
    body["attempted"] = True
    body["status_transitions"]["paid_at"] = account.timestamp()
    account.emit("invoice.paid", render(account, body))
    account.emit("invoice.payment_succeeded", render(account, body))


def _line(account: Account, invoice: Object, params: Params) -> Object:
    amount = params.integer("amount")
    if amount is None:
        raise invalid("the twin takes lines by `amount` only", param="lines[amount]", code="parameter_missing")
    period = params.child("period")
    taxes = [_tax(account, tax) for tax in params.items("tax_amounts")]
    item = account.new_id("ii")
    return {
        "id": account.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": params.text("description"),
        "discount_amounts": [],
        "discountable": params.flag("discountable", default=True),
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": params.metadata(),
        "parent": {
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item,
                "proration": False,
                "proration_details": None,
                "subscription": None,
            },
            "subscription_item_details": None,
        },
        "period": {
            "start": period.integer("start") if period else invoice["created"],
            "end": period.integer("end") if period else invoice["created"],
        },
        "pretax_credit_amounts": [],
        "pricing": None,
        "quantity": 1,
        "subtotal": amount,
        "taxes": taxes,
    }


def _tax(account: Account, params: Params) -> dict[str, Any]:
    amount, taxable = params.integer("amount"), params.integer("taxable_amount")
    rate = params.child("tax_rate_data")
    if amount is None or taxable is None or rate is None:
        raise missing("tax_amounts", "amount, taxable_amount and tax_rate_data", "lines[tax_amounts]")
    percentage = rate.required("percentage")
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate.flag("inclusive", default=False) else "exclusive",
        "tax_rate_details": {"tax_rate": f"txr_{rate.required('display_name')}_{percentage}"},
        "taxability_reason": params.text("taxability_reason") or "not_available",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def _total(account: Account, body: Object) -> None:
    lines = account.lines[body["id"]]
    taxes: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        for tax in line["taxes"]:
            key = (tax["tax_rate_details"]["tax_rate"], tax["tax_behavior"])
            whole = taxes.setdefault(key, tax | {"amount": 0, "taxable_amount": 0})
            whole["amount"] += tax["amount"]
            whole["taxable_amount"] += tax["taxable_amount"]
    added = sum(tax["amount"] for tax in taxes.values() if tax["tax_behavior"] == "exclusive")
    every = sum(tax["amount"] for tax in taxes.values())
    body["subtotal"] = sum(line["amount"] for line in lines)
    body["total"] = body["amount_due"] = body["amount_remaining"] = body["subtotal"] + added
    body["total_taxes"] = list(taxes.values())
    body["total_excluding_tax"] = body["total"] - every
    body["subtotal_excluding_tax"] = body["subtotal"] - (every - added)


def _blank(identity: str, now: int) -> Object:
    zeros = (
        "amount_due",
        "amount_overpaid",
        "amount_paid",
        "amount_paid_off_stripe",
        "amount_remaining",
        "amount_shipping",
        "attempt_count",
        "post_payment_credit_notes_amount",
        "pre_payment_credit_notes_amount",
        "starting_balance",
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
    )
    absent = ("customer_address", "default_source", "effective_at", "ending_balance", "hosted_invoice_url", "parent")
    return {
        "id": identity,
        "object": "invoice",
        **dict.fromkeys(zeros, 0),
        **dict.fromkeys(absent),
        "attempted": False,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "status": None},
        "billing_reason": "manual",
        "created": now,
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "livemode": False,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "total_discount_amounts": [],
        "total_taxes": [],
    }
