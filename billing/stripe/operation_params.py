"""What stands in the parameters of operations: plain JSON, frozen when the operation is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billing.billing_provider import RemoteLine, RemoteTax
from billing.collection import CollectionMethod, InvoiceToCollect
from billing.stripe.operations import Kind
from billing.stripe.planning import LINES_PER_CALL

Operations = list[tuple[Kind, Mapping[str, Any]]]


def invoice_ref(tenant: str, invoice_id: str, incarnation: int = 1) -> str:
    """Return the reference by which an invoice is found again at the provider."""
    return f"{tenant}/{invoice_id}" if incarnation == 1 else f"{tenant}/{invoice_id}#{incarnation}"


def lines_of(params: Mapping[str, Any]) -> list[RemoteLine]:
    """Read the lines of an ADD_LINES operation."""
    return [
        RemoteLine(
            ref=line["ref"],
            description=line["description"],
            amount=line["amount"],
            period=tuple(line["period"]),
            taxes=tuple(RemoteTax(*tax) for tax in line["taxes"]),
            detail=tuple((name, text) for name, text in line["detail"]),
        )
        for line in params["lines"]
    ]


def collection_operations(tenant: str, invoice: InvoiceToCollect, lines: Sequence[RemoteLine]) -> Operations:
    """Return what takes an invoice from nothing to collected, step by step."""
    is_sent = invoice.method is CollectionMethod.SEND
    draft = {
        "ref": invoice_ref(tenant, invoice.invoice_id),
        "customer": invoice.customer.key,
        "currency": invoice.currency,
        "number": invoice.number,
        "days_until_due": invoice.days_until_due if is_sent else None,
    }
    chunks = [lines[start : start + LINES_PER_CALL] for start in range(0, len(lines), LINES_PER_CALL)]
    expected = {
        "currency": invoice.currency,
        "total": sum(line.amount + line.tax for line in lines),
        "tax": sum(line.tax for line in lines),
        "lines": {line.ref: [line.amount, line.tax] for line in lines},
    }
    return [
        (Kind.CREATE_DRAFT, draft),
        *((Kind.ADD_LINES, {"lines": [_line_params(line) for line in chunk]}) for chunk in chunks),
        (Kind.VERIFY, expected),
        (Kind.FINALISE, {}),
        (Kind.SEND, {}) if is_sent else (Kind.PAY, {"attempt": 1}),
    ]


def _line_params(line: RemoteLine) -> dict[str, Any]:
    return {
        "ref": line.ref,
        "description": line.description,
        "amount": line.amount,
        "period": list(line.period),
        "taxes": [[tax.name, tax.percent, tax.amount] for tax in line.taxes],
        "detail": [list(pair) for pair in line.detail],
    }
