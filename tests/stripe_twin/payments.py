"""Money that moves: payment intents, charges, fees, invoice payments, refunds, disputes."""

from __future__ import annotations

import copy

from tests.stripe_twin import customers
from tests.stripe_twin.account import Account, Object, created_within, page
from tests.stripe_twin.form import Params
from tests.stripe_twin.problems import declined, invalid, refused


def charge_customer(account: Account, customer: Object, amount: int, currency: str, method: Object) -> Object:
    """Create a payment intent and confirm it; a decline raises 402 and leaves the intent behind."""
    intent = _intent(account, customer["id"], amount, currency)
    intent["payment_method"] = method["id"]
    code = customers.decline_code(method)
    if code is not None:
        problem = declined(code)
        intent["last_payment_error"] = dict(problem.error)
        account.emit("payment_intent.payment_failed", intent)
        raise declined(code, copy.deepcopy(intent))
    _succeed(account, intent)
    return intent


def create_intent(account: Account, params: Params) -> Object:
    """POST /v1/payment_intents, confirmed at once or not at all."""
    amount = params.integer("amount")
    if amount is None or amount < 1:
        raise invalid("This value must be greater than or equal to 1.", param="amount")
    customer = account.get("customer", params.required("customer"), "customer")
    if not params.flag("confirm", default=False):
        return _intent(account, customer["id"], amount, params.required("currency"))
    method = account.get("payment_method", params.required("payment_method"), "payment_method")
    return charge_customer(account, customer, amount, params.required("currency"), method)


def retrieve_intent(account: Account, params: Params, intent: str) -> Object:
    """GET /v1/payment_intents/{intent} with `latest_charge` and its balance transaction expanded on request."""
    body = copy.deepcopy(account.get("payment_intent", intent, "intent"))
    wanted = params.texts("expand")
    if body["latest_charge"] and any(path.startswith("latest_charge") for path in wanted):
        charge = copy.deepcopy(account.objects[body["latest_charge"]])
        if "latest_charge.balance_transaction" in wanted and charge["balance_transaction"]:
            charge["balance_transaction"] = account.objects[charge["balance_transaction"]]
        body["latest_charge"] = charge
    return body


def create_refund(account: Account, params: Params) -> Object:
    """POST /v1/refunds: never more than was charged."""
    intent = account.get("payment_intent", params.required("payment_intent"), "payment_intent")
    return refund(account, intent, params.integer("amount"), params.metadata())


def refund(account: Account, intent: Object, amount: int | None, metadata: dict[str, str]) -> Object:
    """Refund a charge in part or in whole."""
    if not intent["latest_charge"]:
        raise refused("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
    charge = account.objects[intent["latest_charge"]]
    left = charge["amount"] - charge["amount_refunded"]
    wanted = left if amount is None else amount
    if left == 0:
        raise refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not 0 < wanted <= left:
        raise refused(f"Refund amount is greater than unrefunded amount on charge ({left})", param="amount")
    charge["amount_refunded"] += wanted
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    body: Object = {
        "id": account.new_id("re"),
        "object": "refund",
        "amount": wanted,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": account.timestamp(),
        "currency": charge["currency"],
        "metadata": metadata,
        "payment_intent": intent["id"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    account.add("refund", body)
    account.emit("refund.created", body)
    account.emit("charge.refunded", charge)
    return body


def fail_refund(account: Account, refund: str) -> None:
    """Let a refund that seemed to succeed fail: the customer's bank has sent it back."""
    body = account.get("refund", refund, "refund")
    body["status"] = "failed"
    charge = account.objects[body["charge"]]
    charge["amount_refunded"] -= body["amount"]
    charge["refunded"] = False
    account.emit("refund.failed", body)


def list_refunds(account: Account, params: Params) -> Object:
    """GET /v1/refunds."""
    intent = params.text("payment_intent")
    found = [item for item in reversed(account.all("refund")) if intent in {None, item["payment_intent"]}]
    return page(created_within(found, params), params, "/v1/refunds")


def retrieve_refund(account: Account, params: Params, refund: str) -> Object:
    """GET /v1/refunds/{refund}."""
    return account.get("refund", refund, "refund")


def pay_invoice(account: Account, invoice: Object, intent: Object, *, is_default: bool) -> Object:
    """Record that a payment intent pays towards an invoice."""
    amount = intent["amount_received"]
    body: Object = {
        "id": account.new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": amount,
        "amount_requested": amount,
        "created": account.timestamp(),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": is_default,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": account.timestamp()},
    }
    account.add("invoice_payment", body)
    account.emit("invoice_payment.paid", body)
    return body


def list_invoice_payments(account: Account, params: Params) -> Object:
    """GET /v1/invoice_payments, by invoice or by payment intent."""
    invoice, payment = params.text("invoice"), params.child("payment")
    intent = payment.required("payment_intent") if payment else None
    found = [
        item
        for item in reversed(account.all("invoice_payment"))
        if invoice in {None, item["invoice"]} and intent in {None, item["payment"]["payment_intent"]}
    ]
    return page(found, params, "/v1/invoice_payments")


DISPUTE_FEE = 1_500


def open_dispute(account: Account, intent_id: str, amount: int, *, inquiry: bool = False) -> Object:
    """Let the cardholder's bank dispute a charge, or ask about it first. Called by tests; no request does this."""
    charge = account.objects[account.objects[intent_id]["latest_charge"]]
    charge["disputed"] = True
    body: Object = {
        "id": account.new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": account.timestamp(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": None,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": intent_id,
        "reason": "fraudulent",
        "status": "warning_needs_response",
    }
    account.add("dispute", body)
    account.emit("charge.dispute.created", body)
    if not inquiry:
        take_dispute(account, body["id"])
    return body


def take_dispute(account: Account, dispute: str, status: str = "needs_response") -> None:
    """Let the bank take the money, and Stripe its fee: what was an inquiry is a dispute now. Called by tests."""
    body = account.objects[dispute]
    body["status"] = status
    body["balance_transactions"].append(_movement(account, body["id"], -body["amount"], DISPUTE_FEE, body["currency"]))
    account.emit("charge.dispute.funds_withdrawn", body)


def close_dispute(account: Account, dispute: str, outcome: str) -> None:
    """Let the bank decide: `won`, which gives money and fee back, `lost`, or `warning_closed`. Called by tests."""
    body = account.objects[dispute]
    body["status"] = outcome
    if outcome == "won":
        given_back = _movement(account, body["id"], body["amount"], -DISPUTE_FEE, body["currency"])
        body["balance_transactions"].append(given_back)
    account.emit("charge.dispute.closed", body)


def retrieve_dispute(account: Account, params: Params, dispute: str) -> Object:
    """GET /v1/disputes/{dispute}."""
    return account.get("dispute", dispute, "dispute")


def _intent(account: Account, customer: str, amount: int, currency: str) -> Object:
    intent = account.new_id("pi")
    body: Object = {
        "id": intent,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{intent}_secret_twin",
        "confirmation_method": "automatic",
        "created": account.timestamp(),
        "currency": currency,
        "customer": customer,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
    }
    return account.add("payment_intent", body)


def _movement(account: Account, source: str, amount: int, fee: int, currency: str, kind: str = "adjustment") -> Object:
    return {
        "id": account.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": account.timestamp() + 2 * 86_400,
        "balance_type": "payments",
        "created": account.timestamp(),
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [],
        "net": amount - fee,
        "reporting_category": "charge" if kind == "charge" else "dispute",
        "source": source,
        "status": "pending",
        "type": kind,
    }


def _succeed(account: Account, intent: Object) -> None:
    account.charges_made += 1
    amount, currency = intent["amount"], intent["currency"]
    fee = amount * 29 // 1000 + 30
    charge_id = account.new_id("ch")
    transaction = _movement(account, charge_id, amount, fee, currency, "charge")
    account.add("balance_transaction", transaction)
    charge: Object = {
        "id": charge_id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "balance_transaction": transaction["id"],
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "created": account.timestamp(),
        "currency": currency,
        "customer": intent["customer"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "refunded": False,
        "status": "succeeded",
    }
    account.add("charge", charge)
    intent |= {"status": "succeeded", "amount_received": amount, "latest_charge": charge_id}
    account.emit("charge.succeeded", charge)
    account.emit("payment_intent.succeeded", intent)
