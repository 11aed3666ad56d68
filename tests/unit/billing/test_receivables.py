"""What is owed falls into the bucket of its age, and nowhere else."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from billing.receivables import OpenInvoice, age, totals

TODAY = date(2026, 11, 25)


def owed(days: int, amount: int = 100, customer: str = "a", currency: str = "USD") -> OpenInvoice:
    return OpenInvoice("i", "1", customer, currency, TODAY - timedelta(days=days), amount)


@pytest.mark.parametrize(
    ("days", "bucket"), [(-5, 0), (0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (999, 4)]
)
def test_each_age_has_one_bucket(days: int, bucket: int) -> None:
    buckets = age([owed(days)], TODAY)[0].buckets
    assert [i for i, amount in enumerate(buckets) if amount] == [bucket]


def test_debts_are_summed_by_customer_and_currency_and_lose_nothing() -> None:
    invoices = [owed(3, 10), owed(40, 20), owed(3, 5, "b"), owed(3, 7, currency="KRW")]
    debts = age(invoices, TODAY)
    assert [(debt.currency, debt.customer, debt.total_minor) for debt in debts] == [
        ("KRW", "a", 7),
        ("USD", "a", 30),
        ("USD", "b", 5),
    ]
    assert [(total.currency, total.buckets) for total in totals(debts)] == [
        ("KRW", [0, 7, 0, 0, 0]),
        ("USD", [0, 15, 20, 0, 0]),
    ]
