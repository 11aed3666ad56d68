"""Months closed and opened again, and what becomes of their invoices."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing import ledger
from billing.closing import reopen
from billing.invoices import InvoiceLine
from billing.invoicing import finalise, give_up, void
from billing.repositories.charges import ChargeRepository
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from tests.state_machine import model as m
from tests.state_machine.telling import DAY, FIRST, OWED, Telling, chosen, picks


def _says(uow: UnitOfWork, line: InvoiceLine) -> m.Row:
    """Return what a line is for, and its amount."""
    [source] = line.sources
    row = ChargeRepository(uow).row(*source)
    return (row.subscription or "", row.cycle.start, row.feature, row.segment_start), Fraction(line.exact)


class InvoiceRules(Telling):
    """What is told of closes and invoices."""

    @rule(days=st.integers(1, 20))
    def move_clock(self, days: int) -> None:
        """Let days pass."""
        self.now += days * DAY

    @rule(grace=st.sampled_from([0, 0, 3]))
    def close(self, grace: int) -> None:
        """Close the next month, once it is over; and again, which does nothing."""
        month = self.closed[-1] if self.reopened else (m.month_after(self.closed[-1]) if self.closed else FIRST)
        self.now = max(self.now, m.month_after(month) + timedelta(hours=1))
        period = f"{month:%Y-%m}"
        self.tell(lambda company: company.close(period, self.now.isoformat(), grace_days=grace).was_closed)
        self.model.discard(period)
        self.model.wallets.expire_holds(self.now)
        self.model.expire_credit(self.now)
        self.model.close(month, period, self.now, self.now + grace * DAY)
        self.model.name_drafts(self._drafts(period))
        if not self.reopened:
            self.closed.append(month)
        self.reopened = False
        if not grace:
            self._finalised([each for each in self.model.drafts() if each.period == period])
        assert self.tell(lambda company: company.close(period, self.now.isoformat()).was_closed)
        balances = self.write(lambda uow: ledger.balances(uow))
        self.known.append((self.now, balances))

    def _drafts(self, period: str) -> dict[str, str]:
        """Return the new invoices of a month by customer."""

        def find(uow: UnitOfWork) -> dict[str, str]:
            repository = InvoiceRepository(uow)
            found = [each for each in repository.many(repository.of_period(period))]
            return {each.customer: each.id for each in found if each.id not in self.model.invoices}

        return self.write(find)

    def _finalised(self, invoices: list[m.Invoice]) -> None:
        for invoice in invoices:
            self._finalised_one(invoice)
        for invoice in invoices:
            if invoice.total < 0:
                self.model.spend(invoice.customer)

    def _finalised_one(self, invoice: m.Invoice) -> None:
        found = self.write(lambda uow: InvoiceRepository(uow).get(invoice.id))
        invoice.lines = {line.line: (line.net_minor, line.tax_minor) for line in found.lines}
        invoice.says = self.write(lambda uow: {line.line: _says(uow, line) for line in found.lines})
        gross: dict[str, int] = {}
        for line in found.lines:
            gross[line.feature] = gross.get(line.feature, 0) + line.net_minor + line.tax_minor
        self.model.finalise(invoice, {feature: max(minor, 0) for feature, minor in gross.items()})

    @precondition(lambda self: self.closed and not self.reopened)
    @rule()
    def reopen(self) -> None:
        """Open the last month again."""
        self.write(lambda uow: reopen(uow, f"{self.closed[-1]:%Y-%m}", "something was wrong", "ann", self.now).state)
        self.reopened = True
        self.model.closed_at = max(self.model.closed_at, self.now)

    @precondition(lambda self: self.model.drafts())
    @rule()
    def issue(self) -> None:
        """Finalise the drafts whose grace period is over."""
        self.now += 3 * DAY
        drafts = self.model.drafts()
        self.write(
            lambda uow: [each.id for each in finalise(uow, InvoiceRepository(uow).drafts_due(self.now), self.now)]
        )
        self._finalised(drafts)

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks)
    def void(self, pick: int) -> None:
        """Void an invoice, where that is allowed."""
        invoice = chosen(self.issued(*OWED), pick)
        code = self.refusal(lambda uow: void(uow, invoice.id, "wrong", self.now))
        touched = invoice.paid or invoice.written_off or invoice.credited
        allowed: set[str | None] = {"invoice_not_voidable"} if touched else {None, "invoice_corrected"}
        if self.model.books[invoice.customer].credit + invoice.from_credit < 0:
            allowed = allowed - {None} | {"credit_spent"}  # The credit it gave is spent.
        assert code in allowed
        if code is None:
            self.model.void(invoice)

    @precondition(lambda self: self.issued("finalised", "uncollectible"))
    @rule(pick=picks)
    def write_off(self, pick: int) -> None:
        """Give up what is open, of a debt that was given up what was paid back since."""
        invoice = chosen(self.issued("finalised", "uncollectible"), pick)
        self.write(lambda uow: give_up(uow, invoice.id, self.now).state)
        invoice.written_off += invoice.open
        invoice.settled, invoice.state = invoice.total, "uncollectible"
