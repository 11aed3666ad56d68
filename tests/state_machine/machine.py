"""Random histories of a company, told to the real books and to the model, compared after every step.

Several companies may be driven side by side, each on a database of its own: they have to answer alike, and in the end
to give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from billing import ledger, wallets
from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.exports.register import documents, write_headers, write_lines
from billing.invoices import InvoiceState
from billing.ledger import AsKnown
from billing.ledger_checks import CHECKS
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.tax import FixedRate
from billing.verification import trial_balance, verify
from billing.wallets import Wallet
from models.values.money import currency
from tests.billing_story import Company
from tests.state_machine import model as m
from tests.state_machine.invoice_rules import InvoiceRules
from tests.state_machine.money_rules import MoneyRules
from tests.state_machine.subscription_rules import SubscriptionRules
from tests.state_machine.telling import CUSTOMERS, OWED, WALLET_ACCOUNTS, book, chosen, picks
from tests.state_machine.usage_rules import UsageRules
from tests.state_machine.wallet_rules import WalletRules


class Books(UsageRules, SubscriptionRules, InvoiceRules, MoneyRules, WalletRules):
    """A company's history, and what always holds of it."""

    @initialize(code=st.sampled_from(["USD", "KRW", "BHD"]))
    def found(self, code: str) -> None:
        """Set the company up, each customer with one subscription."""
        self.money = currency(code)
        self.model = m.Model(CUSTOMERS, self.money.exponent, self.money.units_per_minor)
        for company in self.companies:
            company.rates = FixedRate("vat", Decimal(m.TAX_PERCENT))
            company.found(*CUSTOMERS, currency=code)
        self.book_hash = self.tell(lambda company: company.publish(book(code)))
        self.prices = self.write(lambda uow: PriceBookRepository(uow).get(self.book_hash).book)
        for customer in CUSTOMERS:
            for wallet in (
                Wallet(f"{customer}-any", customer, code, priority=1),
                Wallet(f"{customer}-tokens", customer, code, features=("tokens",)),
            ):
                self.write(lambda uow, each=wallet: wallets.open_wallet(uow, each, recorded_at=self.now))  # type: ignore[misc]
        self.quote("acme", 2, True)
        self.quote("bolt", 1, False)

    @invariant()
    def invoices_are_the_models(self) -> None:
        """Every invoice has the state and the amounts that the model gives it."""
        for company in self.companies:
            with company.database.reading(company.tenant) as uow:
                repository = InvoiceRepository(uow)
                found = [each for customer in CUSTOMERS for each in repository.of_customer(customer)]
            assert {each.id for each in found} == set(self.model.invoices)
            for each in found:
                mine = self.model.invoices[each.id]
                assert (each.state.value, Fraction(each.exact)) == (mine.state, mine.exact)
                assert sorted(Fraction(line.exact) for line in each.lines) == sorted(amount for _, amount in mine.rows)
                if each.state is not InvoiceState.DRAFT:
                    assert (each.net_minor, each.tax_minor, each.settled_minor) == (mine.net, mine.tax, mine.settled)
                    carried = Fraction(each.carried_in), Fraction(each.carried_out)
                    assert carried == (mine.carried_in, mine.carried_out)

    @invariant()
    def the_ledger_is_the_models(self) -> None:
        """Balances are what the model says; nothing rounds away; the ledger verifies."""
        for company in self.companies:
            with company.database.reading(company.tenant) as uow:
                balances = ledger.balances(uow)
                assert all(sum(codes.values()) == 0 for codes in trial_balance(uow).values())
                assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
            for customer in CUSTOMERS:
                self._compare(customer, balances)

    def _compare(self, customer: str, balances: Mapping[Account, int]) -> None:
        """Compare one customer's accounts: what was invoiced, carried and not yet invoiced is all that was due."""
        stands = {
            code: balances.get(Account(code, self.money.code, customer), 0)
            for code in ("receivable", "customer_credit", "remainder", "unbilled")
        }
        units = self.money.units_per_minor
        assert stands["receivable"] == self.model.receivable(customer) * units
        assert stands["customer_credit"] == -self.model.books[customer].credit * units
        for feature, used in self.model.wallets.used.get(customer, {}).items():
            assert balances.get(Account("prepaid_usage", self.money.code, customer, feature), 0) == -used
        for wallet in (f"{customer}-any", f"{customer}-tokens"):
            for code, asset, kind in WALLET_ACCOUNTS:
                account = Account(code, asset + self.money.code, customer, wallet)
                assert balances.get(account, 0) == -self.model.wallets.held_in(customer, wallet, kind)
        invoiced = sum(each.net for each in self.issued(*OWED) if each.customer == customer)
        posted = invoiced * units + stands["remainder"] + stands["unbilled"]
        assert abs(self.model.exact_charged(customer) * self.model.minor * units - posted) <= Fraction(1, 2)

    @precondition(lambda self: self.known)
    @rule(pick=picks)
    def look_back(self, pick: int) -> None:
        """What was known at the time of a close is known to have been known."""
        at, then = chosen(self.known, pick)
        assert self.write(lambda uow: ledger.balances(uow, AsKnown(recorded_until=at))) == then

    def teardown(self) -> None:
        """The register is the same in every company, byte for byte."""

        def register(company: Company) -> bytes:
            with company.database.reading(company.tenant) as uow:
                writers = (write_headers, write_lines)
                return b"".join(chunk for write in writers for chunk in write(documents(uow), "jsonl"))

        try:
            self.tell(register)
        finally:
            for company in self.companies:
                company.database.close()
