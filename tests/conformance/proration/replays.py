"""The stories about proration, anchors, blocking and repair, told again with our functions.

Each replay takes a story's facts and returns the figures that ours come to, under the names of its `expected`. Money
is in the story's own unit: major units as text for Kill Bill and Flexprice, cents for Lago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from models.values.money import currency, from_minor, round_fraction, round_to_minor
from models.values.period import BillingCycle, Interval, Period, parse_instant, parse_zone
from pricing_engine.proration import (
    Proration,
    ProrationBasis,
    ProrationRule,
    end_of_day,
    prorate,
    prorate_cycle,
    repair,
    trial_end,
)

Facts = Mapping[str, Any]
UTC = parse_zone("UTC")
USD = currency("USD")
BY_DAY = ProrationRule(UTC)
_INTERVALS = {
    "monthly": Interval.MONTH,
    "quarterly": Interval.QUARTER,
    "yearly": Interval.YEAR,
    "weekly": Interval.WEEK,
}


def at(text: str, zone: ZoneInfo = UTC) -> datetime:
    return parse_instant(text, "at", zone)


def span(start: str, end: str) -> Period:
    return Period(at(start), at(end))


def day(instant: datetime) -> str:
    return instant.date().isoformat()


def rounded(amount: Fraction) -> Decimal:
    return from_minor(round_to_minor(amount, USD), USD)


def cents(amount: Fraction) -> str:
    return str(round_fraction(amount))


def monthly(bill_cycle_day: int, start: datetime, interval: Interval = Interval.MONTH) -> BillingCycle:
    return BillingCycle.on_day(interval, UTC, bill_cycle_day, start)


def items(price: str, used: Period, cycle: BillingCycle, rule: ProrationRule = BY_DAY) -> list[dict[str, Any]]:
    """One item a turn of the cycle, each rounded alone as Kill Bill does."""
    return [item(piece) for piece in prorate_cycle(Decimal(price), used=used, cycle=cycle, rule=rule)]


def item(piece: Proration) -> dict[str, Any]:
    return {
        "type": "RECURRING",
        "start": day(piece.used.start),
        "end": day(piece.used.end),
        "amount": rounded(piece.exact),
    }


def repair_item(billed: Mapping[str, Any], start: str, end: str, left: Decimal | None = None) -> dict[str, Any]:
    """Credit the unused days of a billed item."""
    amount = Decimal(billed["amount"])
    credit = repair(
        int(amount * 100),
        billed=span(billed["start"], billed["end"]),
        unused=span(start, end),
        left_minor=int((amount if left is None else left) * 100),
        rule=BY_DAY,
    )
    return {"type": "REPAIR_ADJ", "start": start, "end": end, "amount": -from_minor(credit, USD)}


def credit_item(on: str, amount: Decimal) -> dict[str, Any]:
    return {"type": "CREDIT", "start": on, "end": on, "amount": amount}


# Kill Bill


def ratios_billed(given: Facts, cycle: BillingCycle) -> list[Fraction]:
    """In advance: the turns that begin by the target date, none of it from the end date on."""
    start, end = at(given["start"]), cycle.period_containing(at(given["target"])).end
    if "end" in given:
        end = min(end, at(given["end"]))
    return [piece.ratio for piece in prorate_cycle(Decimal(1), used=Period(start, end), cycle=cycle, rule=BY_DAY)]


def cycles_billed(row: Facts) -> Fraction:
    """Return how many turns of a row of cycles.json are billed."""
    cycle = monthly(row["day"], at(row["start"]), Interval(row["interval"]))
    return sum(ratios_billed(row, cycle), Fraction(0))


def billing_cycles(given: Facts) -> Facts:
    """Whole turns are counted, parts of them named."""
    ratios = ratios_billed(given, monthly(given["bill_cycle_day"], at(given["start"])))
    parts = [f"{ratio.numerator}/{ratio.denominator}" for ratio in ratios if ratio != 1]
    whole = sum(ratio == 1 for ratio in ratios)
    return {"billing_cycles": " + ".join([*parts, *([str(whole)] if whole else [])])}


def leading_balance(given: Facts) -> Facts:
    (subscription,) = given["subscriptions"]
    start = at(subscription["start"])
    cycle = monthly(subscription["bill_cycle_day"], start)
    used = Period(start, cycle.period_containing(at(given["target"])).end)
    billed = items(subscription["price"], used, cycle)
    total = sum(one["amount"] for one in billed)
    expected = rounded(Fraction(Decimal(subscription["price"])) * (1 + Fraction(14, 31)))
    return {
        "item_count": len(billed),
        "balance_formula": "round_half_up(10 * (1 + 14/31), 2)" if total == expected else total,
    }


def second_run(given: Facts) -> Facts:
    (subscription,) = given["subscriptions"]
    cycle = monthly(subscription["bill_cycle_day"], at(subscription["start"]))
    through = cycle.period_containing(at(given["already_invoiced_through_target"])).end
    open_ = Period(through, max(through, cycle.period_containing(at(given["target"])).end))
    return {"invoice": items(subscription["price"], open_, cycle) or None}


def blocked(given: Facts) -> Facts:
    holes = tuple(span(*ends) for ends in given["blocked"])
    net = []
    for billed in given["billed"]:
        full = span(billed["start"], billed["end"])
        pieces = [prorate(Decimal(billed["amount"]), used=one, full=full, rule=BY_DAY) for one in full.without(holes)]
        net += [item(piece) for piece in pieces]
    return {"net_items": net}


def changed_annual(given: Facts) -> Facts:
    (old,), new = given["billed"], given["new_item"]
    full, whole = span(old["start"], old["end"]), span(new["start"], new["end"])
    kept = prorate(Decimal(old["amount"]), used=span(old["start"], given["change_on"]), full=full, rule=BY_DAY)
    return {"net_items": [item(kept), item(prorate(Decimal(new["amount"]), used=whole, full=whole, rule=BY_DAY))]}


def blocked_annual(given: Facts) -> Facts:
    """What was billed through the year end is kept; of the new item only what lies behind it is left to bill."""
    (old,), ((hole_start, hole_end),), new = given["billed"], given["blocked"], given["proposed"][-1]
    whole = span(new["start"], new["end"])
    rest = Period(at(old["end"]), whole.end)
    return {
        "items_to_issue": [
            repair_item(old, hole_start, hole_end),
            item(prorate(Decimal(new["amount"]), used=rest, full=whole, rule=BY_DAY)),
        ]
    }


def cancelled_after_adjustment(given: Facts) -> Facts:
    (billed,) = given["billed"]
    adjustment = given["item_adjustment"]["amount"]
    amount = Decimal(billed["amount"])
    left = Decimal(0) if adjustment == "full item" else amount + Decimal(adjustment)
    credit = repair_item(billed, given["cancel_on"], billed["end"], left)
    return {"items_to_issue": [credit] if credit["amount"] else []}


def trial_then_anchor_31(given: Facts) -> Facts:
    start = at(given["start"])
    due = trial_end(start, given["trial_days"], UTC)
    cycle = monthly(given["bill_cycle_day"], due)
    first_turn = cycle.period_containing(due).end
    first = items(given["monthly"], Period(due, first_turn), cycle)
    later = items(given["plan_change_at_end_of_term_to_monthly"], Period(first_turn, cycle.start_of(4)), cycle)
    trial = {"type": "FIXED", "start": day(start), "end": day(due), "amount": Decimal(0)}
    return {"items": [trial, *first, *later]}


def pause_and_resume(given: Facts) -> Facts:
    due = trial_end(at(given["start"]), given["trial_days"], UTC)
    cycle = monthly(given["bill_cycle_day"], due)
    first = items(given["monthly"], cycle.period_containing(due), cycle)
    credit = repair_item(first[0], given["pause_on"], first[0]["end"])
    resumed_at = at(given["resume_on"])
    resumed = items(given["monthly"], Period(resumed_at, cycle.period_containing(resumed_at).end), cycle)
    used_up = credit_item(given["resume_on"], -min(-credit["amount"], resumed[0]["amount"]))
    return {"invoices": [first, [credit, credit_item(given["pause_on"], -credit["amount"])], [*resumed, used_up]]}


def weekly(given: Facts) -> Facts:
    start = at(given["start"])
    due = trial_end(start, given["trial_days"], UTC)
    cycle = BillingCycle.anniversary(Interval.WEEK, UTC, due)
    weeks = items(given["weekly"], Period(due, cycle.start_of(11)), cycle)
    trial = {"type": "FIXED", "start": day(start), "end": day(due), "amount": Decimal(0)}
    later = weeks[1:]
    meets = all(left["end"] == right["start"] for left, right in zip(weeks, later, strict=False))
    same = meets and len({one["amount"] for one in later}) == 1
    then = f"{len(later)} more 7-day periods of {later[0]['amount']} from {later[0]['start']}, no gap and no overlap"
    return {"items": [trial, weeks[0]], "then": then if same else weeks}


def invoice_dates(given: Facts) -> Facts:
    start = at(given["start"])
    cycle = monthly(given["bill_cycle_day"], start)
    return {"invoice_dates": [day(cycle.start_of(turn)) for turn in range(4)]}


def free_plan_upgraded(given: Facts) -> Facts:
    start, change = at(given["start"]), at(given["change_on"])
    cycle = monthly(given["bill_cycle_day"], start)
    free, paid = given["monthly"], given["new_monthly"]
    turn = cycle.period_containing(change)
    split = [*items(free, Period(turn.start, change), cycle), *items(paid, Period(change, turn.end), cycle)]
    whole = [
        items(price, cycle.period_of(number), cycle) for number, price in ((0, free), (1, free), (2, paid), (3, paid))
    ]
    return {"invoices": [whole[0], whole[1], split, whole[2], whole[3]]}


def monthly_to_quarterly(given: Facts) -> Facts:
    due = trial_end(at(given["start"]), given["trial_days"], UTC)
    change = at(given["change_on"])
    cycle = monthly(given["bill_cycle_day"], due)
    quarters = monthly(given["bill_cycle_day"], change, Interval.QUARTER)
    old = items(given["monthly"], cycle.period_containing(due), cycle)
    turn = quarters.turn_of(change)
    new = items(given["quarterly"], Period(change, quarters.start_of(turn + 2)), quarters)
    return {"items": [*old, new[0], repair_item(old[0], given["change_on"], old[0]["end"]), new[1]]}


def thirty_day_months(given: Facts) -> Facts:
    start = at(given["start"])
    cycle = monthly(given["bill_cycle_day"], start)
    rule = ProrationRule(UTC, basis=ProrationBasis.FIXED_30)
    return {"items": items(given["monthly"], Period(start, cycle.period_containing(start).end), cycle, rule)}


def anchor_moved(given: Facts) -> Facts:
    due, change = trial_end(at(given["start"]), given["trial_days"], UTC), at(given["change_on"])
    old = items(given["monthly"], monthly(due.day, due).period_containing(due), monthly(due.day, due))
    cycle = monthly(given["bcd_set_to"], change)
    turn = cycle.turn_of(change)
    leading, first = items(given["new_monthly"], Period(change, cycle.start_of(turn + 2)), cycle)
    credit = repair_item(old[0], given["change_on"], old[0]["end"])
    left = -credit["amount"] - leading["amount"]
    second = credit_item(first["start"], -min(left, first["amount"]))
    return {"invoices": [[leading, credit, credit_item(given["change_on"], left)], [first, second]]}


def first_item(given: Facts) -> Facts:
    due = trial_end(at(given["start"]), given["trial_days"], UTC)
    cycle = monthly(given["bill_cycle_day"], due)
    return {"invoice_item": items(given["monthly"], Period(due, cycle.period_containing(due).end), cycle)[0]}


def repaired_and_regenerated(given: Facts) -> Facts:
    """The repair of the later invoice is right, and what is billed anew for the days that were used."""
    (billed,), (given_repair,) = given["invoice2"], given["invoice3"]
    assert repair_item(billed, given_repair["start"], given_repair["end"])["amount"] == Decimal(given_repair["amount"])
    full = span(billed["start"], billed["end"])
    used = Period(full.start, at(given_repair["start"]))
    return {"regenerated": [item(prorate(Decimal(billed["amount"]), used=used, full=full, rule=BY_DAY))]}


def blocked_by_overdue(given: Facts) -> Facts:
    cycle = monthly(31, at(given["trial_end_and_first_failed_invoice"]))
    paid_on = given["paid_on"]
    turn = cycle.period_containing(at(paid_on))
    blocked_from = day(at(given["trial_end_and_first_failed_invoice"]) + timedelta(days=40))
    billed = items(given["monthly"], turn, cycle)[0]
    credit = repair_item(billed, blocked_from, paid_on)
    following = items(given["monthly"], cycle.period_containing(turn.end), cycle)
    used_up = credit_item(following[0]["start"], credit["amount"])
    return {
        "after_clear": [credit, credit_item(paid_on, -credit["amount"])],
        "next_invoice": [*following, used_up],
    }


# Lago


def _calendar(given: Facts, zone: ZoneInfo = UTC) -> BillingCycle:
    return BillingCycle.calendar(_INTERVALS[given.get("plan_interval") or given.get("interval", "monthly")], zone)


def commitment(given: Facts) -> Facts:
    """The commitment and the plan's fee are due for the days subscribed; usage and fee count towards the first."""
    cycle, start = _calendar(given), at(given["subscription_start"])
    first = cycle.period_containing(start)
    full = (
        first
        if at(given["bill_at"]) == first.end or given["plan_billed"] == "in advance"
        else cycle.period_containing(first.end)
    )
    used = Period(max(start, full.start), full.end)
    committed, fee = (
        round_fraction(prorate(Decimal(given[name]), used=used, full=full, rule=BY_DAY).exact)
        for name in ("commitment_cents", "plan_fee_cents")
    )
    counted = (
        given["usage_on_start_day"]
        if full == first
        else {"recurring, in advance": given["usage_on_start_day"]["recurring, in advance"]}
    )
    prices = {charge["name"]: Decimal(charge["unit_amount"]) for charge in given["charges"]}
    usage = sum(Decimal(units) * prices[name] * 100 for name, units in counted.items())
    return {"commitment_true_up_cents": str(int(committed - fee - usage))}


def downgrade_waits(given: Facts) -> Facts:
    full = _calendar(given).period_containing(at(given["downgrade_requested"]))
    whole = {
        name: prorate(Decimal(given[name]), used=full, full=full, rule=BY_DAY).exact
        for name in ("plan_fee_cents", "commitment_cents")
    }
    fee, committed = whole["plan_fee_cents"], whole["commitment_cents"]
    last = full.end - timedelta(seconds=1)
    return {
        "plan_fee_cents": cents(fee),
        "commitment_true_up_cents": cents(committed - fee),
        "total_cents": cents(committed),
        "period": [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (full.start, last)],
    }


def minimum_until_termination(given: Facts) -> Facts:
    cycle, ended = _calendar(given), end_of_day(at(given["terminated"]), UTC)
    full = cycle.period_containing(at(given["terminated"]))
    least = prorate(Decimal(given["charge"]["minimum_cents"]), used=Period(full.start, ended), full=full, rule=BY_DAY)
    usage = [Decimal(0)] + [
        Decimal(given["charge"]["filters"][event["region"]]) * 100 for event in reversed(given["events"])
    ]
    true_up = round_fraction(least.exact) - sum(usage)
    fee = int(given["plan_fee_cents"])
    credit = repair(fee, billed=full, unused=Period(ended, full.end), left_minor=fee, rule=BY_DAY)
    tax = Fraction(Decimal(given["tax_rate"])) / 100
    return {
        "true_up_cents": str(int(true_up)),
        "true_up_tax_cents": cents(Fraction(true_up) * tax),
        "fees_cents": str(int(sum(usage) + true_up)),
        "credit_notes_cents": cents(Fraction(credit) * (1 + tax)),
    }


def terminated_in_quarter(given: Facts) -> Facts:
    full = _calendar(given).period_containing(at(given["started"]))
    used = Period(at(given["started"]), end_of_day(at(given["terminated"]), UTC))
    return {"plan_fee_cents": cents(prorate(Decimal(given["plan_fee_cents"]), used=used, full=full, rule=BY_DAY).exact)}


def yearly_from_anniversary(given: Facts) -> Facts:
    cycle = BillingCycle.anniversary(Interval.YEAR, UTC, at(given["started"]))
    activated = at(given["activated"])
    full = cycle.period_containing(activated)
    piece = prorate(Decimal(given["new_plan"]["fee_cents"]), used=Period(activated, full.end), full=full, rule=BY_DAY)
    start = BillingCycle.calendar(Interval.DAY, UTC).period_containing(activated).start
    return {
        "new_fee_formula": f"round({piece.used_units} * {piece.amount} / {piece.full_units})",
        "new_fee_cents": cents(piece.exact),
        "new_period": [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, full.end - timedelta(seconds=1))],
    }


def trial_after_upgrade(given: Facts) -> Facts:
    due = trial_end(at(given["started"]), int(given["new_trial_days"]), UTC)
    full = BillingCycle.calendar(Interval.MONTH, UTC).period_containing(due)
    piece = prorate(Decimal(given["new_plan_fee_cents"]), used=Period(due, full.end), full=full, rule=BY_DAY)
    return {"trial_end_at": day(due), "trial_end_plan_fee_cents": cents(piece.exact)}


def ended_mid_period(given: Facts) -> Facts:
    """A termination bills its own day, an upgrade leaves it to the new plan."""
    start = at(given["period_start"])
    full = BillingCycle.calendar(Interval.MONTH, UTC).period_containing(start)
    terminated = "terminated_day" in given
    change = start + timedelta(days=int(given["terminated_day"] if terminated else given["upgraded_day"]))
    used = Period(start, end_of_day(change, UTC) if terminated else change)
    fee = round_fraction(prorate(Decimal(given["plan_fee_cents"]), used=used, full=full, rule=BY_DAY).exact)
    usage = sum(Decimal(event["units"]) * Decimal(given["unit_amount"]) * 100 for event in given["events"])
    billed = sum(map(int, given["thresholds_cents"]))
    return {
        "threshold_invoices_cents": given["thresholds_cents"],
        "final": {
            "fees_cents": str(int(fee + usage)),
            "progressive_credit_cents": str(billed),
            "total_cents": str(int(fee + usage - billed)),
        },
    }


def unused_week(given: Facts) -> Facts:
    full = _calendar(given).period_containing(at(given["started"]))
    unused = Period(end_of_day(at(given["terminated"]), UTC), full.end)
    exact = prorate(Decimal(given["plan_fee_cents"]), used=unused, full=full, rule=BY_DAY).exact
    tax = Fraction(Decimal(given["tax_rate"])) / 100
    fee, subtotal = int(given["plan_fee_cents"]), round_fraction(exact)
    tax_cents = round_fraction(subtotal * tax)
    shown = Decimal(int(exact * 10**5)).scaleb(-5)  # Lago cuts the precise amount to five places.
    return {
        "invoice_total_cents": str(fee + round_fraction(fee * tax)),
        "invoice_tax_cents": str(round_fraction(fee * tax)),
        "credit_note": {
            "item_precise_cents": str(shown),
            "subtotal_cents": str(subtotal),
            "tax_cents": str(tax_cents),
            "total_cents": str(subtotal + tax_cents),
        },
    }


def tokyo(given: Facts) -> Facts:
    zone = parse_zone(given["timezone"])
    rule = ProrationRule(zone)
    moment = at(given["started_and_terminated"])
    full = _calendar(given, zone).period_containing(moment)
    price, tax = Decimal(given["plan_fee_cents"]), Fraction(Decimal(given["tax_rate"])) / 100
    billed = prorate(price, used=Period(moment, full.end), full=full, rule=rule).exact
    unused = prorate(price, used=Period(end_of_day(moment, zone), full.end), full=full, rule=rule).exact
    subtotal = round_fraction(unused)
    tax_cents = round_fraction(subtotal * tax)
    return {
        "first_invoice_total_cents": cents(billed * (1 + tax)),
        "credit_note": {
            "subtotal_cents": str(subtotal),
            "tax_cents": str(tax_cents),
            "total_cents": str(subtotal + tax_cents),
        },
    }


# Flexprice


def whole_days_both_ends(given: Facts) -> Facts:
    """Its periods name their last day; ours end with the next. What was paid bounds the credit."""
    full = Period(at(given["period_start"]), end_of_day(at(given["period_end"]), UTC))
    rest = Period(at(given["change_date"]), full.end)
    old, new = (
        None
        if given[f"{which}_unit_amount"] is None
        else Decimal(given[f"{which}_unit_amount"]) * Decimal(given[f"{which}_quantity"])
        for which in ("old", "new")
    )
    credit = charge = None
    if old is not None:
        paid = Decimal(given["original_amount_paid"] or old)
        left = int(min(paid, old) * 100)
        credit = -from_minor(repair(int(old * 100), billed=full, unused=rest, left_minor=left, rule=BY_DAY), USD)
    if new is not None:
        charge = rounded(prorate(new, used=rest, full=full, rule=BY_DAY).exact)
    return {"credit": credit, "charge": charge, "net": (credit or Decimal(0)) + (charge or Decimal(0))}


REPLAYS: Mapping[str, Callable[[Facts], Facts]] = {
    "kb-cyc-04": billing_cycles,
    "kb-cyc-05": billing_cycles,
    "kb-cyc-06": billing_cycles,
    "kb-cyc-08": billing_cycles,
    "kb-cyc-10": billing_cycles,
    "kb-cyc-12": billing_cycles,
    "kb-gen-03": leading_balance,
    "kb-gen-06": second_run,
    "kb-tree-03": blocked,
    "kb-tree-04": blocked,
    "kb-tree-05": changed_annual,
    "kb-tree-06": blocked_annual,
    "kb-tree-07": cancelled_after_adjustment,
    "kb-tree-09": cancelled_after_adjustment,
    "kb-life-01": trial_then_anchor_31,
    "kb-life-03": pause_and_resume,
    "kb-life-04": weekly,
    "kb-life-05": invoice_dates,
    "kb-life-06": free_plan_upgraded,
    "kb-life-09": monthly_to_quarterly,
    "kb-fix-03": thirty_day_months,
    "kb-bcd-02": anchor_moved,
    "kb-pay-03": first_item,
    "kb-void-02": repaired_and_regenerated,
    "kb-ovd-01": blocked_by_overdue,
    "lago-commit-arrears-calendar-monthly-1": commitment,
    "lago-commit-arrears-calendar-monthly-2": commitment,
    "lago-commit-advance-calendar-monthly-2": commitment,
    "lago-commit-termination-2": downgrade_waits,
    "lago-charge-minimum-2": minimum_until_termination,
    "lago-proration-termination-2": terminated_in_quarter,
    "lago-downgrade-1": yearly_from_anniversary,
    "lago-trial-2": trial_after_upgrade,
    "lago-progressive-2": ended_mid_period,
    "lago-progressive-3": ended_mid_period,
    "lago-credit-note-rounding-3": unused_week,
    "lago-terminate-advance-2": tokyo,
    **{f"flexprice-proration-{number}": whole_days_both_ends for number in range(1, 6)},
}
"""How each story of figures.json is told again."""

ELSEWHERE: Mapping[str, frozenset[str]] = {
    "kb-pay-03": frozenset({"invoice_balance", "account_balance"}),
    "kb-void-02": frozenset({"void_invoice2_while_repaired", "void_invoice3_then_invoice2", "account_credit_left"}),
    "kb-ovd-01": frozenset({"states", "account_balance"}),
    "lago-charge-minimum-2": frozenset({"usage_fee_cents", "tax_cents", "total_cents"}),
    "lago-trial-2": frozenset({"upgrade_invoice_cents", "april"}),
}
"""Parts of a story that are about payment, tax or usage, not about proration."""
