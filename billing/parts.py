"""Parts of an amount that is due for a full billing period, as an agreement prorates it. Pure."""

from __future__ import annotations

from decimal import Decimal

from billing.phases import Agreement
from models.values.money import round_fraction
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.pricing import SHARE_DIGITS
from pricing_engine.proration import prorate


def part_of(amount: Decimal, used: Period, full: Period, agreement: Agreement) -> Decimal:
    """Return the part of a full period's amount, to SHARE_DIGITS places; neighbouring parts sum to the whole.

    It is the difference of two running sums, each rounded half away from zero.
    """
    if used == full:
        return amount
    rule = agreement.proration
    until_end = prorate(amount, used=Period(full.start, used.end), full=full, rule=rule).exact
    until_start = prorate(amount, used=Period(full.start, used.start), full=full, rule=rule).exact
    scale = 10**SHARE_DIGITS
    units = round_fraction(until_end * scale) - round_fraction(until_start * scale)
    return Decimal(units).scaleb(-SHARE_DIGITS, EXACT)
