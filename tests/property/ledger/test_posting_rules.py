"""Every rule balances for every fact, and debits and credits what an accountant expects."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.carrying import Parts
from billing.chart_of_accounts import CHART, Account
from billing.posting_rules import (
    RULES,
    CreditNote,
    CreditUnits,
    DisputeLost,
    DisputeOpened,
    DisputeWon,
    Exchange,
    Fact,
    InvoiceInAdvance,
    InvoiceInArrears,
    Overpayment,
    PartnerShareAsAgent,
    PartnerShareAsPrincipal,
    Payment,
    PrepaidBurn,
    PrepaidExpiry,
    PrepaidGrant,
    PrepaidUsageApplied,
    ProcessorFee,
    ProcessorFeeReturned,
    PromotionalApplied,
    PromotionalBurn,
    PromotionalGrant,
    Recognition,
    Recovery,
    Refund,
    RefundReopening,
    RemainderCarry,
    UsageAccrual,
    WriteOff,
    journal,
    legs_of,
)
from models.values.errors import InvalidValueError
from tests.ledger_facts import NOON

_units = st.integers(-(10**20), 10**20)
_parts = st.lists(st.tuples(st.sampled_from(["chat", "image", "vat"]), _units), max_size=4).map(tuple)


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    """Any fact of any rule."""
    rule = RULES[draw(st.sampled_from(sorted(RULES)))]
    kinds = {"int": _units, "Parts": _parts, "str": st.sampled_from(["acme", "zeta"])}
    values = {
        field.name: draw(st.sampled_from(["USD", "EUR"]) if field.name.endswith("asset") else kinds[str(field.type)])
        for field in fields(rule)  # type: ignore[arg-type]
    }
    return rule(**values)


@given(st.lists(facts(), min_size=1, max_size=4))
def test_legs_sum_to_zero_in_every_asset_and_stay_in_the_chart(several: list[Fact]) -> None:
    totals: dict[str, int] = {}
    legs = legs_of(*several)
    for account, amount in legs:
        assert account.code in CHART
        assert amount != 0
        totals[account.asset] = totals.get(account.asset, 0) + amount
    assert set(totals.values()) <= {0}
    assert len({account for account, _ in legs}) == len(legs)


def test_a_journal_needs_a_fact() -> None:
    with pytest.raises(InvalidValueError) as refused:
        journal("nothing", NOON)
    assert refused.value.code == "no_facts"


_VAT: Parts = (("vat", 19),)


@pytest.mark.parametrize(
    ("fact", "debits", "credits"),
    [
        (UsageAccrual("acme", "USD", (("chat", 5), ("image", 2))), {"unbilled": 7},
         {"revenue/chat": 5, "revenue/image": 2}),
        (UsageAccrual("acme", "USD", (("chat", -5),)), {"revenue/chat": 5}, {"unbilled": 5}),
        (InvoiceInArrears("acme", "USD", 100, _VAT), {"receivable": 119}, {"unbilled": 100, "tax_payable/vat": 19}),
        (RemainderCarry("acme", "USD", 3), {"remainder": 3}, {"unbilled": 3}),
        (InvoiceInAdvance("acme", "USD", (("seat", 100),), _VAT), {"receivable": 119},
         {"deferred_revenue/seat": 100, "tax_payable/vat": 19}),
        (Recognition("acme", "USD", "seat", 9), {"deferred_revenue/seat": 9}, {"revenue/seat": 9}),
        (Payment("acme", "USD", "stripe", 119), {"processor_clearing/stripe": 119}, {"receivable": 119}),
        (ProcessorFee("USD", "stripe", 3), {"processor_fee/stripe": 3}, {"processor_clearing/stripe": 3}),
        (ProcessorFeeReturned("USD", "stripe", 3), {"processor_clearing/stripe": 3}, {"processor_fee/stripe": 3}),
        (Overpayment("acme", "USD", "stripe", 8), {"processor_clearing/stripe": 8}, {"customer_credit": 8}),
        (CreditNote("acme", "USD", (("chat", 60),), (("seat", 40),), _VAT, 119),
         {"revenue/chat": 60, "deferred_revenue/seat": 40, "tax_payable/vat": 19}, {"receivable": 119}),
        (CreditNote("acme", "USD", (("chat", 100),), (), _VAT, 20),
         {"revenue/chat": 100, "tax_payable/vat": 19}, {"receivable": 20, "customer_credit": 99}),
        (Refund("acme", "USD", "stripe", 99), {"customer_credit": 99}, {"processor_clearing/stripe": 99}),
        (RefundReopening("acme", "USD", "stripe", 99), {"receivable": 99}, {"processor_clearing/stripe": 99}),
        (DisputeOpened("acme", "USD", "stripe", 9), {"disputed": 9}, {"processor_clearing/stripe": 9}),
        (DisputeWon("acme", "USD", "stripe", 9), {"processor_clearing/stripe": 9}, {"disputed": 9}),
        (DisputeLost("acme", "USD", 9), {"dispute_loss": 9}, {"disputed": 9}),
        (PrepaidGrant("acme", "USD", "main", "stripe", 9), {"processor_clearing/stripe": 9}, {"wallet/main": 9}),
        (PrepaidBurn("acme", "USD", "main", "chat", 9), {"wallet/main": 9}, {"prepaid_usage/chat": 9}),
        (PrepaidExpiry("acme", "USD", "main", 9), {"wallet/main": 9}, {"breakage": 9}),
        (CreditUnits("acme", "XTOKENS.0", "main", -9), {"units_held/main": 9}, {"units_issued/main": 9}),
        (PromotionalGrant("acme", "USD", "main", 9), {"units_issued/main": 9}, {"units_held/main": 9}),
        (PromotionalBurn("acme", "USD", "main", "chat", 9), {"units_held/main": 9, "discount/main": 9},
         {"units_issued/main": 9, "prepaid_usage/chat": 9}),
        (PrepaidUsageApplied("acme", "USD", (("chat", 9),)), {"prepaid_usage/chat": 9}, {"receivable": 9}),
        (PromotionalApplied("acme", "USD", "main", 9), {"units_held/main": 9, "discount/main": 9},
         {"units_issued/main": 9, "receivable": 9}),
        (WriteOff("acme", "USD", 100, _VAT), {"bad_debt": 100, "tax_payable/vat": 19}, {"receivable": 119}),
        (Recovery("acme", "USD", 100, _VAT), {"receivable": 119}, {"recovered_debt": 100, "tax_payable/vat": 19}),
        (PartnerShareAsPrincipal("bob", "USD", "chat", 3), {"share_cost/chat": 3}, {"partner_payable": 3}),
        (PartnerShareAsAgent("bob", "USD", "chat", -3), {"partner_payable": 3}, {"revenue/chat": 3}),
        (Exchange("stripe", "EUR", 100, "USD", 108), {"exchange_clearing": 100, "processor_clearing/stripe": 108},
         {"processor_clearing/stripe": 100, "exchange_clearing": 108}),
    ],
)  # fmt: skip
def test_what_each_rule_debits_and_credits(fact: Fact, debits: dict[str, int], credits: dict[str, int]) -> None:
    def sides(sign: int) -> dict[str, int]:
        legs = [(account, sign * amount) for account, amount in legs_of(fact) if sign * amount > 0]
        return {f"{account.code}/{account.detail}".rstrip("/"): amount for account, amount in legs}

    assert (sides(1), sides(-1)) == (debits, credits)


def test_promotional_units_are_an_asset_of_their_own() -> None:
    legs = dict(legs_of(PromotionalBurn("acme", "USD", "main", "chat", 9)))
    assert legs[Account("units_held", "promo:USD", "acme", "main")] == 9
    assert legs[Account("prepaid_usage", "USD", "acme", "chat")] == -9
