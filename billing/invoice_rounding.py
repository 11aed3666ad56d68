"""Rounding an invoice, once: exact lines to minor units, the rest carried to the customer's next invoice. Pure.

    exact lines + carried in = net + carried out,      |carried out| <= half a minor unit

Each line becomes its floor or its ceiling in minor units, the ceilings going to the largest remainders (ties to the
earlier line), so that the lines sum to the net. A line that is already whole is never touched to make up for what
was carried in: with nothing but whole lines the remainder waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from models.values.money import Currency, allocate, from_minor, round_fraction
from models.values.quantity import EXACT

_HUNDRED = 100


@dataclass(frozen=True, slots=True)
class RoundedLines:
    """Lines in minor units, their sum, and the exact remainder in major units that the next invoice takes in."""

    lines: tuple[int, ...]
    net_minor: int
    exact: Decimal
    carried_out: Decimal


@dataclass(frozen=True, slots=True)
class TaxedGroup:
    """Lines under one tax code and percent: their net, and the tax on that net rounded once, in minor units."""

    code: str
    percent: Decimal
    net_minor: int
    tax_minor: int


def round_lines(exact: Sequence[Decimal], carried_in: Decimal, of: Currency) -> RoundedLines:
    """Round exact amounts in major units, taking in what earlier invoices left."""
    scale = 10**of.exponent
    scaled = [Fraction(amount) * scale for amount in exact]
    floors = [amount.numerator // amount.denominator for amount in scaled]
    rests = [amount - floor for amount, floor in zip(scaled, floors, strict=True)]
    total = EXACT.create_decimal(0)
    for amount in exact:
        total = EXACT.add(total, amount)
    wanted = round_fraction((Fraction(total) + Fraction(carried_in)) * scale)
    unfinished = sum(1 for rest in rests if rest)
    ceilings = min(max(wanted - sum(floors), 0), unfinished)
    by_rest = sorted(range(len(rests)), key=lambda i: (-rests[i], i))
    lines = list(floors)
    for i in by_rest[:ceilings]:
        lines[i] += 1
    net = sum(lines)
    carried_out = EXACT.subtract(EXACT.add(total, carried_in), from_minor(net, of))
    return RoundedLines(tuple(lines), net, total, carried_out)


def tax_lines(
    nets: Sequence[int], rates: Sequence[tuple[str, Decimal]]
) -> tuple[tuple[int, ...], tuple[TaxedGroup, ...]]:
    """Tax lines by group of equal code and percent: rounded once on the group's net, shared out by largest remainder.

    `rates`: tax code and percent of each line. Returns the tax of each line and the groups in order of first use.
    """
    groups: dict[tuple[str, Decimal], list[int]] = {}
    for i, rate in enumerate(rates):
        groups.setdefault(rate, []).append(i)
    taxes = [0] * len(nets)
    taxed = []
    for (code, percent), members in groups.items():
        net = sum(nets[i] for i in members)
        tax = round_fraction(Fraction(net) * Fraction(percent) / _HUNDRED)
        for i, share in zip(members, share_out(tax, [nets[i] for i in members]), strict=True):
            taxes[i] = share
        taxed.append(TaxedGroup(code, percent, net, tax))
    return tuple(taxes), tuple(taxed)


def share_out(total: int, nets: Sequence[int]) -> list[int]:
    """Split `total` over lines in proportion to their nets; where signs differ, by the size of each line.

    The parts sum to the total exactly.
    """
    if all(net >= 0 for net in nets) or all(net <= 0 for net in nets):
        return allocate(total, [abs(net) for net in nets])
    whole = sum(nets)
    if whole == 0:
        return allocate(total, [abs(net) for net in nets])
    running, reached, parts = 0, 0, []
    for net in nets:
        running += net
        now = round_fraction(Fraction(total) * running / whole)
        parts.append(now - reached)
        reached = now
    return parts
