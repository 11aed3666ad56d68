"""Money in and out, and credit notes."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.credit_notes import CreditRequest, issue_credit_note
from billing.settlements import Money, grant_customer_credit, pay, refund
from tests.state_machine import model as m
from tests.state_machine.telling import OWED, Telling, chosen, customers, picks, shares


class MoneyRules(Telling):
    """What is told of money."""

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, share=shares)
    def pay(self, pick: int, share: Fraction) -> None:
        """Pay an invoice: all, a part, or too much; the same payment twice counts once."""
        invoice = chosen(self.issued(*OWED), pick)
        minor = max(m.half_away(max(invoice.open, invoice.written_off) * share), 1)
        money = Money(self.next_id("p"), minor, self.now)
        for _ in range(2):
            self.write(lambda uow: pay(uow, invoice.id, money, self.now).settled_minor)
        self.model.pay(invoice, minor)

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, share=shares, reopens=st.booleans())
    def refund(self, pick: int, share: Fraction, reopens: bool) -> None:
        """Pay money back: of an invoice, which is open again, or out of credit."""
        invoice = chosen(self.issued(*OWED), pick)
        books = self.model.books[invoice.customer]
        most = self.model.refundable(invoice) if reopens else books.credit
        minor = max(m.half_away(most * share), 1)
        money = Money(self.next_id("r"), minor, self.now)
        code = self.refusal(lambda uow: refund(uow, invoice.id, money, self.now, reopens=reopens))
        if minor > most:
            assert code == ("refund_above_paid" if reopens else "insufficient_balance")
            return
        assert code is None
        invoice.cash -= minor
        if reopens:
            invoice.paid -= minor
            invoice.settle(-minor)
        else:
            books.credit -= minor

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, line=picks, share=shares)
    def credit(self, pick: int, line: int, share: Fraction) -> None:
        """Credit a part of a line, at most what is left of it."""
        invoice = chosen(self.issued(*OWED), pick)
        number = 1 + line % len(invoice.lines)
        left = self.model.creditable(invoice, number)
        net = max(m.half_away(left * share), 1)
        request = CreditRequest(self.next_id("c"), invoice.id, "complaint", self.now.date(), {number: net})
        code = self.refusal(lambda uow: issue_credit_note(uow, request, self.now))
        if net > left or invoice.state == "uncollectible":
            assert code == "not_creditable"
            return
        assert code is None
        self.model.credit(invoice, number, net)

    @rule(customer=customers, minor=st.integers(1, 20_000))
    def take_in(self, customer: str, minor: int) -> None:
        """Take in money for no invoice in particular."""
        money = Money(self.next_id("t"), minor, self.now)
        self.write(lambda uow: len(grant_customer_credit(uow, customer, self.money.code, money, self.now)))
        self.model.credit_in(customer, minor)
