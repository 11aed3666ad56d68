"""Whatever is paid and paid back, by hand and by Stripe and in any order: no more goes back than came in."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing import ledger
from billing.billing_provider import (
    NoAnswerError,
    RefusedError,
    RemoteInvoice,
    RemotePayment,
    RemoteRefund,
    RemoteStatus,
)
from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.ledger_collection import LedgerCollection
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.settlements import Money, pay, spend_credit
from billing.stripe.absorbing import Absorber
from billing.stripe.handing_over import HandOver
from billing.stripe.operations import Aggregate, Kind, Move, Operation, State
from billing.stripe.refunding import refund_invoice
from billing.stripe.settings import StripeSettings
from billing.unit_of_work import UnitOfWork
from billing.verification import verify
from models.values.errors import RuleBrokenError
from tests.billing_story import Company, at

NOW = at("2026-03-10")
TOTAL = 1_000
PER_MINOR = 10**6
BANK, STRIPE = "bank", "stripe"

Script = list[tuple[str, int, int]]

PAYING = ("pay_bank", "pay_stripe")
REFUNDING = ("back_by_bank", "back_by_stripe")
PERFORMING = ("make", "make_unheard")
RARE = (*PAYING, "use_credit", "fail", "come_back")

CREDIT_ON_ITS_WAY: Script = [
    ("pay_stripe", 0, TOTAL),
    ("pay_stripe", 0, 300),
    ("pay_bank", 1, TOTAL),
    ("back_by_stripe", 0, 300),
    ("back_by_stripe", 0, TOTAL),
    ("back_by_bank", 1, 300),
    ("back_by_bank", 1, TOTAL),
]
"""What was paid too much of the first invoice is credit and on its way back: the second one may not take it."""


RETURNED: Script = [
    ("pay_stripe", 0, TOTAL),
    ("back_by_stripe", 0, 700),
    ("make", 0, 0),
    ("come_back", 0, 0),
    ("back_by_bank", 0, TOTAL),
    ("back_by_stripe", 0, 300),
]
"""What did not arrive may be paid back another way, once."""


def moves(*names: str) -> st.SearchStrategy[Script]:
    """Return scripts of these moves, each of an invoice and an amount."""
    move = st.tuples(st.sampled_from(names), st.integers(0, 1), st.sampled_from([TOTAL, 700, 300]))
    return st.lists(move, min_size=1, max_size=6)


cash_in = moves(*PAYING)
cash_back = moves(*REFUNDING * 4, *PERFORMING * 2, *RARE)
scripts = st.builds(lambda *parts: [move for part in parts for move in part], cash_in, cash_back, cash_back, cash_back)


@dataclass
class Desk:
    """The cash desk of one customer with two invoices of ten dollars, and a Stripe that makes what it can."""

    database: Database
    invoices: list[str]
    cash_in: int = 0
    cash_back: Counter[str] = field(default_factory=Counter)
    made: dict[str, RemoteRefund] = field(default_factory=dict)
    intents: dict[str, int] = field(default_factory=dict)
    keys: int = 0

    def __post_init__(self) -> None:
        settings = StripeSettings("sk_test_desk", read_fees=False)
        self.absorber = Absorber(LedgerCollection(lambda: NOW), settings)

    @contextmanager
    def writing(self) -> Iterator[UnitOfWork]:
        with self.database.writing("default") as uow:
            self.absorber.begin(uow)
            yield uow

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def play(self, script: Script) -> None:
        for move, invoice, amount in script:
            getattr(self, move)(self.invoices[invoice], amount)

    # Money in.

    def pay_bank(self, invoice: str, amount: int) -> None:
        with self.writing() as uow:
            pay(uow, invoice, Money(self.key(), amount, NOW, BANK), NOW)
        self.cash_in += amount

    def pay_stripe(self, invoice: str, amount: int) -> None:
        payment = RemotePayment(self.key(), self.key(), amount, NOW)
        self.intents[payment.intent] = amount
        shown = RemoteInvoice("in", "", "cus", RemoteStatus.OPEN, "USD", TOTAL, 0, 0, 0, 0, NOW, (payment,))
        with self.writing() as uow:
            self.absorber.invoice(uow, invoice, shown, NOW)
        self.cash_in += amount

    def use_credit(self, *_: object) -> None:
        with self.writing() as uow:
            spend_credit(uow, "acme", "USD", self.key(), NOW, NOW)

    # Money back.

    def back_by_bank(self, invoice: str, amount: int) -> None:
        if self.asked(invoice, amount, BANK):
            self.cash_back[BANK] += amount

    def back_by_stripe(self, invoice: str, amount: int) -> None:
        self.asked(invoice, amount, STRIPE)

    def asked(self, invoice: str, amount: int, processor: str) -> bool:
        try:
            with self.database.writing("default") as uow:
                refund_invoice(uow, invoice, self.key(), amount, NOW, processor=processor)
        except RuleBrokenError as error:
            if error.code not in {"refund_above_paid", "debts_first"}:
                raise
            return False
        return True

    # Stripe.

    def make(self, *_: object) -> None:
        """Make the next refund, if there is one, and hear of it."""
        with self.writing() as uow:
            for operation in self.leased(uow):
                refund = self.refunded(operation.params["intent"], operation.params["amount"], operation.params["ref"])
                if refund is None:
                    outbox.move(uow, operation, "w", Move(State.DEAD, NOW, 1), RefusedError("is gone"))
                else:
                    outbox.complete(uow, operation, "w", NOW, stripe_id=refund.id, adopted=False)
                    self.absorber.refund(uow, operation.aggregate_id, refund, NOW)

    def make_unheard(self, *_: object) -> None:
        """Make the next refund: the answer is lost, the notification is not."""
        with self.writing() as uow:
            for operation in self.leased(uow):
                refund = self.refunded(operation.params["intent"], operation.params["amount"], operation.params["ref"])
                outbox.move(uow, operation, "w", Move(State.RETRY_WAIT, NOW, 1), NoAnswerError("lost"))
                if refund is not None:
                    self.absorber.refund(uow, operation.aggregate_id, refund, NOW)

    def fail(self, *_: object) -> None:
        """Refuse the next refund for good, unless it was made before."""
        with self.writing() as uow:
            for operation in self.leased(uow):
                if operation.params["ref"] in self.made:
                    outbox.move(uow, operation, "w", Move(State.RETRY_WAIT, NOW, 1), NoAnswerError("lost"))
                else:
                    outbox.move(uow, operation, "w", Move(State.DEAD, NOW, 1), RefusedError("never"))

    def dashboard(self, invoice: str, amount: int) -> None:
        """Let a person pay back as much as Stripe has of a payment."""
        with self.writing() as uow:
            for paid in mirror.facts(uow, invoice, "payment"):
                refund = self.refunded(paid.detail, amount, "")
                if refund is not None:
                    self.absorber.refund(uow, invoice, refund, NOW)
                    return

    def come_back(self, *_: object) -> None:
        """Let the first refund made for us that has arrived so far fail after all."""
        for ref, refund in self.made.items():
            if not refund.is_failed:
                self.made[ref] = failed = replace(refund, is_failed=True)
                self.intents[refund.intent] += refund.amount
                self.cash_back[STRIPE] -= refund.amount
                with self.writing() as uow:
                    invoice = next(each for each in self.invoices if self.has_payment(uow, each, refund.intent))
                    for _told_twice in range(2):
                        self.absorber.refund(uow, invoice, failed, NOW)
                return

    def has_payment(self, uow: UnitOfWork, invoice: str, intent: str) -> bool:
        return any(fact.detail == intent for fact in mirror.facts(uow, invoice, "payment"))

    def leased(self, uow: UnitOfWork) -> list[Operation]:
        """Return the next refund; what Stripe is told of credit that paid its invoices is done on the way."""
        while operations := outbox.lease(uow, "w", NOW, timedelta(minutes=2), 1):
            if operations[0].kind is Kind.REFUND:
                break
            outbox.complete(uow, operations[0], "w", NOW, stripe_id=self.key(), adopted=False)
        return operations

    def refunded(self, intent: str, amount: int, ref: str) -> RemoteRefund | None:
        """Return the refund, the one that is there where it was made before; None where less is left."""
        if ref in self.made:
            return self.made[ref]
        if self.intents[intent] < amount:
            return None
        self.intents[intent] -= amount
        self.cash_back[STRIPE] += amount
        refund = RemoteRefund(self.key(), ref, intent, amount, "USD", NOW)
        if ref:
            self.made[ref] = refund
        return refund

    def finish(self) -> None:
        """Make all that can still be made: each is done, or dead and in the way of those behind it."""
        for _ in range(self.keys):
            self.make()

    def clearing(self) -> int:
        """Return what the books say is left of the money that came in."""
        with self.database.reading("default") as uow:
            assert not list(verify(uow, BOOKS_CHECKS).findings)
            accounts = [Account("processor_clearing", "USD", "", processor) for processor in (BANK, STRIPE)]
            return sum(ledger.balance(uow, account) for account in accounts) // PER_MINOR


@pytest.fixture(scope="module")
def shop(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two invoices that Stripe collects: what hands them over is done, their payment is not."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "1"})
    for month, day in (("2026-01", "2026-02-02"), ("2026-02", "2026-03-02")):
        company.close(month, day, collect=HandOver())
    with database.writing("default") as uow:
        for invoice in company.invoices("acme"):
            assert invoice.total_minor == TOTAL
            outbox.cancel_all(uow, Aggregate.INVOICE, invoice.id)
        outbox.cancel_all(uow, Aggregate.CUSTOMER, "acme")
    database.close()
    return path


@contextmanager
def desk(shop: Path, folder: Path) -> Iterator[Desk]:
    path = folder / "desk.db"
    shutil.copy(shop, path)
    database = Database(f"sqlite:///{path}")
    try:
        yield Desk(database, [each.id for each in Company(database).invoices("acme")])
    finally:
        database.close()
        path.unlink()


@given(script=scripts)
@example([("pay_stripe", 0, TOTAL), ("back_by_stripe", 0, TOTAL), ("back_by_bank", 0, TOTAL)])
@example([("pay_stripe", 0, TOTAL), ("back_by_bank", 0, TOTAL), ("back_by_stripe", 0, TOTAL)])
@example(CREDIT_ON_ITS_WAY)
@example(RETURNED)
def test_no_more_goes_back_than_came_in(shop: Path, tmp_path_factory: Any, script: Script) -> None:
    """By hand and by Stripe, made in any order, told twice or failed: and what is back is posted, to the last cent."""
    with desk(shop, tmp_path_factory.getbasetemp()) as played:
        played.play(script)
        played.finish()
        assert played.cash_back.total() <= played.cash_in
        assert played.clearing() == played.cash_in - played.cash_back.total()


@given(script=scripts, more=moves("dashboard", *REFUNDING, *PERFORMING))
def test_what_went_back_is_posted_whoever_sent_it(
    shop: Path, tmp_path_factory: Any, script: Script, more: Script
) -> None:
    """A person at Stripe asks nobody, so more may go back than came in: the books say so and refuse nothing of it."""
    with desk(shop, tmp_path_factory.getbasetemp()) as played:
        played.play([*script, *more])
        played.finish()
        assert played.clearing() == played.cash_in - played.cash_back.total()
