"""Comparing an invoice at the provider with what was sent, before it is finalised. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from billing.billing_provider import RemoteInvoice, RemoteLine

_SHOWN = 5


def mismatch(expected: Mapping[str, Any], invoice: RemoteInvoice, lines: Sequence[RemoteLine]) -> str | None:
    """Return the first difference in currency, set of lines, amount or tax of a line, tax, total; None if none."""
    if invoice.currency != expected["currency"]:
        return f"currency is {invoice.currency}, sent {expected['currency']}"
    wanted: dict[str, list[int]] = expected["lines"]
    there = Counter(line.ref for line in lines)
    twice = [ref for ref, number in there.items() if number > 1]
    missing, extra = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    for what, refs in (("missing", missing), ("not ours", extra), ("there twice", twice)):
        if refs:
            return f"{len(refs)} lines are {what}: {', '.join(refs[:_SHOWN])}"
    for line in lines:
        if [line.amount, line.tax] != wanted[line.ref]:
            return f"line {line.ref} is {line.amount} + tax {line.tax}, sent {wanted[line.ref]}"
    if invoice.tax != expected["tax"]:
        return f"tax is {invoice.tax}, sent {expected['tax']}"
    if invoice.total != expected["total"]:
        return f"total is {invoice.total}, sent {expected['total']}"
    return None
