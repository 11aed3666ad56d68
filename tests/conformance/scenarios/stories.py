"""Stories of Kill Bill and Lago told again with our books, closes, invoices and settlements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.coupon_discounts import HeldCoupon, apply_held_coupons
from billing.credit_notes import CreditRequest, issue_credit_note, plan_credit
from billing.dunning import Debt, Stage, standing
from billing.explanation import events_behind, explain_line
from billing.invoice_rounding import round_lines, tax_lines
from billing.invoices import Invoice, InvoiceLine, InvoiceState
from billing.invoicing import void
from billing.ledger import balance
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.rated_usage import Kind, RatedUsage
from billing.repositories.credit_notes import CreditedLine, CreditNote
from billing.settlements import Money, grant_customer_credit, pay, refund
from billing.subscriptions import Who, billed, cancel, change_quantity, change_selection, record
from billing.tax import FixedRate, TaxAmount
from models.values.errors import RuleBrokenError
from models.values.money import currency, from_minor
from models.values.period import BillingCycle, Interval, Period
from models.values.quantity import plain
from pricing_engine.coupons import CouponUse, parse_coupon
from pricing_engine.price_book import parse_price_book
from pricing_engine.proration import MidPeriod, end_of_day
from pricing_engine.rating import Usage, rate
from pricing_engine.tariffs.tariff import parse_tariff
from tests.billing_story import NO_TAX, UTC_ZONE, Company, at, event
from tests.made_invoice import made_invoice

Given = Mapping[str, Any]
Told = dict[str, Any]
USD = currency("USD")


def _book(*features: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": "story", "version": 1, "currency": "USD", "effective_from": "2010-01-01T00:00:00Z",
        "meters": [{"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"}],
        "features": list(features),
    }  # fmt: skip


def _plan(amount: str, **more: Any) -> dict[str, Any]:
    return {"key": "plan", "name": "Plan", "kind": "switch", "tariff": {"model": "flat", "amount": amount}, **more}


def _usage(tariff: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": "usage", "name": "Usage", "kind": "metered", "meter": "tokens", "tariff": tariff}


def _months_from(company: Company, first: str, count: int) -> None:
    """Close month after month."""
    month = date.fromisoformat(f"{first}-01")
    for _ in range(count):
        after = (month + timedelta(days=32)).replace(day=1)
        company.close(f"{month:%Y-%m}", f"{after.isoformat()}T01:00")
        month = after


def _subscribed_to(company: Company, monthly: str, starts: str = "2026-01-01") -> Invoice:
    """Sell one plan, close its first month, and return the invoice."""
    company.found("acme")
    company.subscribe("acme", company.publish(_book(_plan(monthly))), {"plan": "1"}, starts=starts)
    _months_from(company, starts[:7], 1)
    return company.invoices("acme")[0]


def _minor(amount: str) -> int:
    return int(Decimal(amount) * 100)


def _major(minor: int) -> str:
    return plain(from_minor(minor, USD))


def account_balance(company: Company) -> str:
    """What the customer owes, credit subtracted."""
    with company.database.reading(company.tenant) as uow:
        owed = sum(balance(uow, Account(code, "USD", "acme")) for code in ("receivable", "customer_credit"))
    return plain(Decimal(owed).scaleb(-8))


# Usage.


def tier_amounts(_: Company, given: Given) -> Told:
    """Each tier is sold in blocks of its own size, its bound given in blocks."""
    tiers, reached = [], 0
    for tier in given["tiers"]:
        reached += tier["block_size"] * max(tier["max_blocks"], 0)
        up_to = None if tier is given["tiers"][-1] else str(reached)
        price = {"package_size": str(tier["block_size"]), "package_amount": tier["price_per_block"]}
        tiers.append({"up_to": up_to, **price})
    tariff = {"model": "graduated" if given["policy"].startswith("ALL") else "volume", "tiers": tiers}
    rating = rate(parse_tariff(tariff), Usage(units=Decimal(given["quantity"])), USD)
    return {"tier_amounts": [plain(line.amount) for line in rating.lines]}


def usage_on_the_day_of_cancellation(company: Company, given: Given) -> Told:
    """The day of the end counts in full: the subscription ends with it."""
    company.found("acme")
    tier = given["tiers"][0]
    price = {"model": "package", "package_size": str(tier["block_size"]), "package_amount": tier["price_per_block"]}
    book = company.publish(_book(_usage(price)))
    subscription = company.subscribe("acme", book, {"usage": "1"}, starts=given["start"])
    ends_at = end_of_day(at(given["cancel_on"]), UTC_ZONE)
    with company.database.writing(company.tenant) as uow:
        record(uow, cancel(subscription, ends_at, Who(at(given["start"]))))
    events = [event(f"tracking-{i}", "acme", day, units) for i, (day, units) in enumerate(given["usage"], start=1)]
    company.ingest(events, "2012-04-20")
    _months_from(company, given["start"][:7], 1)
    invoice = company.invoices("acme")[0]
    with company.database.reading(company.tenant) as uow:
        usage = explain_line(uow, invoice.id, 1).usages[0]
        behind = [each.event_id.removeprefix("e") for each in events_behind(uow, "acme", usage)]
    return {"amounts": [_major(line.net_minor) for line in invoice.lines], "billed_usage_ids": behind}


def one_event_after_the_other(_: Company, given: Given) -> Told:
    """Each event is billed as what it adds to those before it."""
    tariff = parse_tariff({"model": "graduated", "tiers": given["tiers"]})
    fees = [
        rate(tariff, Usage(units=Decimal(1), prior_units=Decimal(before)), USD, round_lines=True).amount
        for before in range(3)
    ]
    return {"fee_cents_sorted": sorted(plain(fee * 100) for fee in fees)}


# Changes.


def units_changed_in_advance(company: Company, given: Given) -> Told:
    """Units billed in advance change without proration: what is added is billed in full, what falls is not credited."""
    company.found("acme")
    tariff = {"model": "unit", "unit_amount": given["unit_amount"]}
    seats = {"key": "seats", "name": "Seats", "kind": "quantity", "billed": "advance", "tariff": tariff}
    document = _book(seats)
    begin = date.fromisoformat(given["period_start"])
    subscription = company.subscribe(
        "acme", company.publish(document), {"seats": given["units"]}, starts=given["period_start"]
    )
    _months_from(company, f"{begin - timedelta(days=1):%Y-%m}", 1)
    for change in given["changes"]:
        who = Who(at(begin.replace(day=int(change["day"])).isoformat()))
        book = parse_price_book(document)
        changed = change_quantity(subscription, book, "seats", Decimal(change["units"]), who.recorded_at, who)
        with company.database.writing(company.tenant) as uow:
            subscription = record(uow, billed(changed, MidPeriod.WHOLE))
    _months_from(company, f"{begin:%Y-%m}", 1)
    first, second = company.invoices("acme")
    of_period = [line for line in second.lines if line.service.start < first.service.end]
    return {"first_fee_cents": first.net_minor, "adjustment_fee_cents": sum(line.net_minor for line in of_period)}


# Money.


def partial_refunds(company: Company, given: Given) -> Told:
    """A refund reopens the invoice; with a credit note for as much it does not."""
    invoice = _subscribed_to(company, given["paid"])
    now, refunded, after_each = at("2026-02-05"), 0, []
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("p", _minor(given["paid"]), now), now)
    for number, step in enumerate(given["steps"]):
        with company.database.writing(company.tenant) as uow:
            after = refund(uow, invoice.id, Money(f"r{number}", _minor(step["refund"]), now), now, reopens=True)
            if step["item_adjustment"] != "0":
                net = {1: _minor(step["item_adjustment"])}
                issue_credit_note(uow, CreditRequest(f"c{number}", invoice.id, "adjusted", now.date(), net), now)
        after = company.invoices("acme")[0]
        refunded += _minor(step["refund"])
        after_each.append({"refunded": _major(refunded), "invoice_balance": _major(after.open_minor)})
    return {"after_each": after_each, "purchased": _major(company.invoices("acme")[0].total_minor)}


def credit_on_what_is_open(company: Company, given: Given) -> Told:
    """Credit pays what is open, then the next invoice."""
    invoice = _subscribed_to(company, given["monthly"])
    now = at("2026-02-05")
    before = account_balance(company)
    with company.database.writing(company.tenant) as uow:
        grant_customer_credit(uow, "acme", "USD", Money("c", _minor(given["credit"]), now), now)
    after = account_balance(company)
    paid = company.invoices("acme")[0]
    _months_from(company, "2026-02", 1)
    following = company.invoices("acme")[1]
    if following.open_minor:
        with company.database.writing(company.tenant) as uow:
            pay(uow, following.id, Money("p", following.open_minor, now), now)
    return {
        "account_balance_before": before,
        "account_balance_after": after,
        "unpaid_invoice_balance": _major(paid.open_minor),
        "next_payment": _major(following.open_minor),
        "account_balance_end": account_balance(company),
        "account_balance": [before, account_balance(company)],
        "number": invoice.number,
    }


def voided(company: Company, given: Given) -> Told:
    """A void frees what was billed for the next invoice; a paid invoice is voided after its refund only."""
    company.found("acme")
    cycle = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, given["bill_cycle_day"], at(given["first_period"][0]))
    book = company.publish(_book(_plan(given["monthly"])))
    company.subscribe("acme", book, {"plan": "1"}, starts=given["first_period"][0], cycle=cycle)
    _months_from(company, "2015-07", 1)
    first, now = company.invoices("acme")[0], at("2015-08-02")
    with company.database.writing(company.tenant) as uow:
        pay(uow, first.id, Money("p", first.total_minor, now), now)
    while_paid = "allowed"
    try:
        with company.database.writing(company.tenant) as uow:
            void(uow, first.id, "story", now)
    except RuleBrokenError:
        while_paid = "rejected"
    with company.database.writing(company.tenant) as uow:
        refund(uow, first.id, Money("r", first.total_minor, now), now, reopens=True)
        after_refund = void(uow, first.id, "story", now).state
    account = account_balance(company)
    _months_from(company, "2015-08", 1)
    return {
        "next_invoice_items": [_item(line) for line in company.invoices("acme")[1].lines],
        "account_balance": account,
        "void_of_paid_invoice": while_paid,
        "void_after_refund": "allowed" if after_refund is InvoiceState.VOID else "rejected",
    }


class TaxPlugin(FixedRate):
    """Taxes no line, and every invoice with one amount."""

    def __init__(self, amount_minor: int) -> None:
        super().__init__("none", Decimal(0))
        self._tax = TaxAmount("plugin", amount_minor)

    def amounts(self, *_: object) -> Sequence[TaxAmount]:
        """Return the amount."""
        return (self._tax,)


def taxed_by_a_plugin(company: Company, given: Given) -> Told:
    """The upgrade of the same day credits what was billed, never the tax; its invoice bears one of its own."""
    company.found("acme")
    company.rates = TaxPlugin(_minor(given["tax_by_plugin"]))
    prices = {"base": given["base_monthly"], "addon": given["addon_monthly"], "best": given["same_day_upgrade_monthly"]}
    document = _book(*(_plan(amount, key=key, billed="advance") for key, amount in prices.items()))
    subscription = company.subscribe("acme", company.publish(document), {"base": "1", "addon": "1"}, starts=given["on"])
    first = date.fromisoformat(given["on"])
    before = f"{first - timedelta(days=1):%Y-%m}"
    _months_from(company, before, 1)
    who = Who(at(given["on"]) + _HOUR)
    upgraded = change_selection(subscription, parse_price_book(document), {"best": Decimal(1)}, at(given["on"]), who)
    with company.database.writing(company.tenant) as uow:
        record(uow, upgraded)
        reopen(uow, before, "upgraded", "story", at(given["on"]) + 2 * _HOUR)
    company.close(before, f"{given['on']}T03:00")
    return {"invoices": [[_item(line) for line in each.lines] for each in company.invoices("acme")]}


def _item(line: InvoiceLine) -> Told:
    is_tax = line.kind is Kind.TAX
    return {
        "type": "TAX" if is_tax else "RECURRING" if line.corrects is None else "REPAIR_ADJ",
        "start": line.service.start.date().isoformat(),
        **({} if is_tax else {"end": line.service.end.date().isoformat()}),
        "amount": _major(line.tax_minor if is_tax else line.net_minor),
    }


def overdue_after_a_refund(_: Company, given: Given) -> Told:
    """The age counts from the day the invoice was due, there its date, not from the refund."""
    stages = [Stage("OD1", given["OD1_after_days"])]
    issued, refunded = (date.fromisoformat(given[name]) for name in ("first_paid_invoice", "refund_in_full_on"))
    now = standing([Debt("1", issued, 1)], stages, refunded).stage
    return {
        "state_before_refund": "CLEAR" if standing([], stages, refunded).stage is None else "OD1",
        "state_after_refund": "CLEAR" if now is None else now.name,
    }


def two_credit_notes(_: Company, given: Given) -> Told:
    """Tax goes back cumulatively."""
    fee = made_invoice(int(given["invoice_fee_cents"]), Decimal(given["tax_rate"]))
    notes: list[CreditNote] = []
    told: Told = {}
    for number in (1, 2):
        lines = plan_credit(fee, notes, {1: int(given[f"note_{number}_item_cents"])})
        notes.append(_note(lines, number))
        net, tax = lines[0].net_minor, lines[0].tax_minor
        told[f"note_{number}"] = {"subtotal_cents": net, "tax_cents": tax, "total_cents": net + tax}
    return told


def coupon_before_tax(_: Company, given: Given) -> Told:
    """A coupon is spread in proportion, before tax; a charge's minimum is topped up before it."""
    named: list[tuple[str, Decimal, str]] = []
    for fee in given["fees"]:
        if "cents" in fee:
            named.append((fee["name"], Decimal(fee["cents"]) / 100, fee["tax_rate"]))
            continue
        tariff = {"model": "unit", "unit_amount": fee["unit_amount"]}
        if "minimum_cents" in fee:
            tariff["minimum_spend"] = str(Decimal(fee["minimum_cents"]) / 100)
        for line in rate(parse_tariff(tariff), Usage(units=Decimal(fee["units"])), USD).lines:
            name = fee["name"] if not line.charges else f"{fee['name']} true-up"
            named.append((name, line.total, fee["tax_rate"]))
    rows = [_row(name.replace(" ", "-"), amount) for name, amount, _ in named]
    coupon = parse_coupon({"key": "c", "amount_off": str(Decimal(given["coupon_cents"]) / 100)})
    discounted, uses = apply_held_coupons(rows, [HeldCoupon(CouponUse(coupon))], "USD")
    shares = {row.feature: -row.amount for row in discounted if row.kind is Kind.COUPON}
    rates = {name.replace(" ", "-"): ("t" + percent, Decimal(percent)) for name, _, percent in named}
    nets = round_lines([row.amount for row in discounted], Decimal(0), USD).lines
    taxes, _ = tax_lines(nets, [rates[row.feature] for row in discounted])
    by_feature: dict[str, int] = {}
    for row, tax in zip(discounted, taxes, strict=True):
        by_feature[row.feature] = by_feature.get(row.feature, 0) + tax
    return {
        "fees": [
            {
                "name": name,
                "cents": plain(amount * 100),
                "coupon_share_cents": plain(shares[name.replace(" ", "-")] * 100),
                "tax_cents": by_feature[name.replace(" ", "-")],
            }
            for name, amount, _ in named
        ],
        "fees_cents": plain(sum((amount for _, amount, _ in named), Decimal(0)) * 100),
        "coupons_cents": sum(use.amount_minor for use in uses),
        "subtotal_excl_tax_cents": sum(nets),
        "tax_cents": sum(taxes),
        "total_cents": sum(nets) + sum(taxes),
    }


# Thresholds.


def thresholds(company: Company, given: Given) -> Told:
    """Usage is invoiced when it reaches a threshold, the rest with the close."""
    company.found("acme")
    plan = _plan(str(Decimal(given["plan_fee_cents"]) / 100))
    book = company.publish(_book(plan, _usage({"model": "unit", "unit_amount": given["unit_amount"]})))
    recurring = given.get("recurring_threshold_cents")
    steps = Thresholds(
        tuple(Decimal(cents) / 100 for cents in given["thresholds_cents"]),
        None if recurring is None else Decimal(recurring) / 100,
    )
    company.subscribe("acme", book, {"plan": "1", "usage": "1"}, starts=given["period_start"], thresholds=steps)
    begin = date.fromisoformat(given["period_start"])
    after_each: list[int | None] = []
    closed = 0
    for number, each in enumerate(given["events"]):
        ahead = int(each.get("month", "1")) - 1
        while closed < ahead:
            _close_after(company, begin, closed)
            closed += 1
        happened = datetime.combine(begin.replace(day=1), datetime.min.time(), UTC_ZONE)
        for _ in range(ahead):
            happened = (happened + timedelta(days=32)).replace(day=1)
        happened += timedelta(days=int(each["day"]))
        company.ingest([event(number, "acme", happened.isoformat(), each["units"])], (happened + _HOUR).isoformat())
        with company.database.writing(company.tenant) as uow:
            made = bill_thresholds(uow, "acme", happened + 2 * _HOUR, happened + 2 * _HOUR, NO_TAX)
        after_each.append(made[0].total_minor if made else None)
    _close_after(company, begin, closed)
    interim = {total for total in after_each if total is not None}
    finals = [each for each in company.invoices("acme") if any(line.feature == "plan" for line in each.lines)]
    first = finals[0]
    fired = [total for total in after_each if total is not None]
    in_first = sum(fired[: _count_in_first(given, after_each)])
    return {
        "threshold_invoices_cents": fired,
        "invoice_after_each_event_cents": after_each,
        "final": {
            "fees_cents": first.total_minor + in_first,
            "progressive_credit_cents": in_first,
            "total_cents": first.total_minor,
        },
        "final_first_period": {"progressive_credit_cents": in_first, "total_cents": first.total_minor},
        "final_totals_cents": [each.total_minor for each in finals],
        "distinct": sorted(interim),
    }


_HOUR = timedelta(hours=1)


def _count_in_first(given: Given, after_each: Sequence[int | None]) -> int:
    pairs = zip(given["events"], after_each, strict=True)
    return sum(1 for each, total in pairs if total is not None and each.get("month", "1") == "1")


def _close_after(company: Company, begin: date, months: int) -> None:
    month = begin
    for _ in range(months):
        month = (month + timedelta(days=32)).replace(day=1)
    _months_from(company, f"{month:%Y-%m}", 1)


# Values made by hand.


def _row(feature: str, amount: Decimal) -> RatedUsage:
    month = Period(at("2026-01-01"), at("2026-02-01"))
    return RatedUsage(
        subscription=None,
        feature=feature,
        kind=Kind.USAGE,
        in_advance=False,
        cycle=month,
        segment_start=month.start,
        service=month,
        quantity=Decimal(1),
        prorated_units=Decimal(1),
        list_amount=amount,
        amount=amount,
        cost=Decimal(0),
        tax_category="standard",
        book_hash=None,
    )


def _note(lines: Sequence[CreditedLine], number: int) -> CreditNote:
    net, tax = sum(line.net_minor for line in lines), sum(line.tax_minor for line in lines)
    return CreditNote(
        id=f"cn_{number}",
        key=f"k{number}",
        number=f"C-{number}",
        invoice="in_1",
        legal_entity="main",
        customer="acme",
        currency="EUR",
        period="2026-02",
        issued_on=date(2026, 2, 1),
        reason="story",
        net_minor=net,
        tax_minor=tax,
        total_minor=net + tax,
        lines=tuple(lines),
    )


STORIES: dict[str, Callable[[Company, Given], Told]] = {
    "kb-use-01": tier_amounts,
    "kb-use-02": tier_amounts,
    "kb-use-03": tier_amounts,
    "kb-use-04": tier_amounts,
    "kb-use-05a": tier_amounts,
    "kb-use-05c": tier_amounts,
    "kb-use-06": tier_amounts,
    "kb-tax-01": taxed_by_a_plugin,
    "kb-use-09": usage_on_the_day_of_cancellation,
    "kb-pay-01": partial_refunds,
    "kb-crd-01": credit_on_what_is_open,
    "kb-crd-02": credit_on_what_is_open,
    "kb-void-01": voided,
    "kb-ovd-02": overdue_after_a_refund,
    "lago-progressive-1": thresholds,
    "lago-progressive-4": thresholds,
    "lago-progressive-5": thresholds,
    "lago-progressive-6": thresholds,
    "lago-credit-note-rounding-4": two_credit_notes,
    "lago-taxes-coupon-1": coupon_before_tax,
    "lago-advance-same-second-1": one_event_after_the_other,
    "lago-fixed-units-1": units_changed_in_advance,
}

NOT_TOLD: dict[str, frozenset[str]] = {
    "kb-use-09": frozenset({"items"}),  # The end is exclusive with us, the figures are checked by amount.
    "kb-crd-02": frozenset({"invoices_changed_when_credit_deleted"}),  # Credit is never deleted, but reversed.
}
"""Parts of an expectation that have no counterpart."""

NOT_OFFERED: dict[str, str] = {
    "lago-wallet-rounding-1": "a top-up in more digits than money has: such an amount is refused, not rounded",
}
"""Stories that do not come out the same, and why."""
