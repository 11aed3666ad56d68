"""From Stripe's objects, as plain dictionaries, to our own types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

from billing.billing_provider import (
    NoAnswerError,
    RemoteDispute,
    RemoteDisputeStatus,
    RemoteEvent,
    RemoteFee,
    RemoteInvoice,
    RemoteLine,
    RemotePayment,
    RemoteRefund,
    RemoteStatus,
    RemoteTax,
    RemoteTransfer,
)

REF = "ala_ref"
"""Metadata key of our reference on customers, invoices, credit notes, refunds and transfers."""
FAILED_REFUND = frozenset({"failed", "canceled"})
"""The states of a refund whose money is back at Stripe."""
LINE = "ala_line"
"""Metadata key of our reference on invoice lines."""

Body = Mapping[str, Any]
T = TypeVar("T")

_DISPUTES = {
    "won": RemoteDisputeStatus.WON,
    "lost": RemoteDisputeStatus.LOST,
    "warning_needs_response": RemoteDisputeStatus.INQUIRY,
    "warning_under_review": RemoteDisputeStatus.INQUIRY,
    "warning_closed": RemoteDisputeStatus.INQUIRY,
}
_PREVENTED = "prevented"


def _readable(read: Callable[[Body], T]) -> Callable[[Body], T]:
    """Turn an answer of unknown form into an answer that did not come: what was asked for may be done all the same."""

    @wraps(read)
    def _read(body: Body) -> T:
        try:
            return read(body)
        except (KeyError, TypeError, ValueError) as error:
            raise NoAnswerError(f"an answer that cannot be read as {read.__name__}", reason=repr(error)) from error

    return _read


def ref_of(body: Body) -> str:
    """Return our reference, or nothing where the object is not ours."""
    return str((body.get("metadata") or {}).get(REF, ""))


@_readable
def invoice(body: Body) -> RemoteInvoice:
    """Read an invoice; its payments where they are expanded."""
    payments = (body.get("payments") or {}).get("data", [])
    return RemoteInvoice(
        id=body["id"],
        ref=ref_of(body),
        customer=_id(body["customer"]),
        status=RemoteStatus(body["status"]),
        currency=body["currency"].upper(),
        total=body["total"],
        tax=sum(tax["amount"] for tax in body.get("total_taxes") or []),
        amount_paid=body["amount_paid"],
        amount_remaining=body["amount_remaining"],
        credited=body["pre_payment_credit_notes_amount"],
        created_at=instant(body["created"]),
        payments=tuple(payment(item) for item in payments if item["status"] == "paid"),
    )


@_readable
def payment(body: Body) -> RemotePayment:
    """Read an invoice payment that is paid."""
    by = body["payment"]
    paid_at = body["status_transitions"]["paid_at"] or body["created"]
    intent = by.get("payment_intent") or by.get("charge") or by.get("payment_record")
    return RemotePayment(body["id"], _id(intent), body["amount_paid"] or 0, instant(paid_at))


@_readable
def line(body: Body) -> RemoteLine:
    """Read an invoice line."""
    period = body["period"]
    taxes = tuple(RemoteTax("", "", tax["amount"]) for tax in body.get("taxes") or [])
    return RemoteLine(
        ref=str(body["metadata"].get(LINE, "")),
        description=body.get("description") or "",
        amount=body["amount"],
        period=(period["start"], period["end"]),
        taxes=taxes,
    )


@_readable
def refund(body: Body) -> RemoteRefund:
    """Read a refund."""
    return RemoteRefund(
        body["id"],
        ref_of(body),
        _id(body.get("payment_intent")),
        body["amount"],
        body["currency"].upper(),
        instant(body["created"]),
        is_failed=body["status"] in FAILED_REFUND,
    )


@_readable
def transfer(body: Body) -> RemoteTransfer:
    """Read a transfer."""
    return RemoteTransfer(body["id"], body["amount"], body["currency"].upper())


@_readable
def fee(body: Body) -> RemoteFee | None:
    """Read the fee from a payment intent with its charge and balance transaction expanded."""
    charge = body.get("latest_charge")
    transaction = charge.get("balance_transaction") if isinstance(charge, Mapping) else None
    if not isinstance(transaction, Mapping):
        return None
    return RemoteFee(transaction["fee"], transaction["currency"].upper())


@_readable
def dispute(body: Body) -> RemoteDispute:
    """Read a dispute; every status that is neither final nor an inquiry counts as open.

    One that was prevented either never took money, as an inquiry does not, or gave it to the cardholder for good.
    """
    movements = [each for each in body["balance_transactions"] if isinstance(each, Mapping)]
    status = _DISPUTES.get(body["status"], RemoteDisputeStatus.OPEN)
    if body["status"] == _PREVENTED:
        taken = any(each["amount"] < 0 for each in movements)
        status = RemoteDisputeStatus.LOST if taken else RemoteDisputeStatus.INQUIRY
    return RemoteDispute(
        body["id"],
        _id(body.get("payment_intent")),
        status,
        body["amount"],
        body["currency"].upper(),
        instant(body["created"]),
        {each["id"]: RemoteFee(each["fee"], each["currency"].upper()) for each in movements},
    )


@_readable
def event(body: Body) -> RemoteEvent:
    """Read a notification."""
    return RemoteEvent(body["id"], body["type"], instant(body["created"]), json.dumps(body, default=str))


def instant(seconds: int) -> datetime:
    """Return seconds since 1970 as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)


def _id(value: Any) -> str:  # noqa: ANN401
    """Return the id of a reference, expanded or not."""
    return str(value["id"]) if isinstance(value, Mapping) else str(value or "")
