"""Tiers: ascending edges, `up_to` inclusive, the last without end. Edges are decimal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, Inexact
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of_all
from pricing_engine.tariffs.table import PackagedTable, Packages, Piece, Scale, SegmentTable

MAX_TIERS = 10_000
UNIT_AMOUNT = "unit_amount"
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier. `unit_amount` is per unit, or in percent of the unit's value where tiers carry `rate`.

    A tier with a `package_size` sells its units by the package instead, a package begun as a whole one.
    None is an absent component, which differs from 0: it makes no line.
    """

    up_to: Decimal | None
    unit_amount: Decimal | None
    flat_amount: Decimal | None
    package_size: Decimal | None = None
    package_amount: Decimal | None = None


def read_tiers(fields: Fields, amount_name: str) -> tuple[Tier, ...]:
    """Read and check `tiers`, whose per-unit component is called `amount_name`."""
    rows = fields.array("tiers", MAX_TIERS, "too_many_tiers")
    if not rows:
        raise InvalidValueError("needs at least one tier", field=fields.path("tiers"), code="no_tiers")
    tiers = tuple(_read_tier(row, f"{fields.path('tiers')}[{i}]", amount_name) for i, row in enumerate(rows))
    _check_edges(tiers, fields.path("tiers"))
    return tiers


def _read_tier(row: object, path: str, amount_name: str) -> Tier:
    fields = Fields(row, path)
    tier = Tier(
        fields.positive("up_to", "tier_not_positive"),
        fields.amount(amount_name, "negative_price"),
        fields.amount("flat_amount", "negative_price"),
    )
    if amount_name == UNIT_AMOUNT:
        tier = replace(
            tier,
            package_size=fields.positive("package_size", "package_size_not_positive"),
            package_amount=fields.amount("package_amount", "negative_price"),
        )
        _check_package(tier, fields)
    fields.finish("unknown_tier_field")
    return tier


def _check_package(tier: Tier, fields: Fields) -> None:
    if (tier.package_size is None) != (tier.package_amount is None):
        raise InvalidValueError(
            "package_size and package_amount come together", field=fields.path("package_size"), code="half_a_package"
        )
    if tier.package_size is not None and tier.unit_amount is not None:
        raise InvalidValueError(
            "a tier is sold by the unit or by the package",
            field=fields.path(UNIT_AMOUNT),
            value=tier.unit_amount,
            code="unit_and_package",
        )


def _check_edges(tiers: Sequence[Tier], path: str) -> None:
    if tiers[-1].up_to is not None:
        raise InvalidValueError(
            "the last tier must have no up_to: units above it would have no price",
            field=f"{path}[{len(tiers) - 1}].up_to",
            value=tiers[-1].up_to,
            code="last_tier_bounded",
        )
    reached = _ZERO
    for i, tier in enumerate(tiers[:-1]):
        if tier.up_to is None:
            raise InvalidValueError(
                "only the last tier may have no up_to", field=f"{path}[{i}].up_to", code="tier_after_open_end"
            )
        if tier.up_to == reached:
            raise InvalidValueError(
                "two tiers end at the same edge", field=f"{path}[{i}].up_to", value=tier.up_to, code="tiers_overlap"
            )
        if tier.up_to < reached:
            raise InvalidValueError(
                "tiers must ascend", field=f"{path}[{i}].up_to", value=tier.up_to, code="tiers_unsorted"
            )
        reached = tier.up_to


def tiers_document(tiers: Iterable[Tier], amount_name: str) -> list[dict[str, Any]]:
    """Write tiers in wire form, absent components left out."""
    named = (
        (
            ("up_to", tier.up_to),
            (amount_name, tier.unit_amount),
            ("flat_amount", tier.flat_amount),
            ("package_size", tier.package_size),
            ("package_amount", tier.package_amount),
        )
        for tier in tiers
    )
    return [{name: plain(number) for name, number in row if number is not None} for row in named]


def in_blocks(tiers: Iterable[Tier], block: Decimal) -> tuple[Tier, ...]:
    """Restate edges given in units as edges in blocks of `block` units, e.g. 500 in blocks of 100 as 5."""
    return tuple(replace(tier, up_to=None if tier.up_to is None else in_block(tier.up_to, block)) for tier in tiers)


def in_block(units: Decimal, block: Decimal) -> Decimal:
    """Return units / block. Raises InvalidValueError where that has no finite decimal form."""
    try:
        return EXACT.divide(units, block)
    except Inexact as error:
        raise InvalidValueError(
            f"{plain(units)} units are no exact number of blocks of {plain(block)}",
            field="billing_units",
            value=block,
            code="inexact_billing_units",
        ) from error


def sells_packages(tiers: Iterable[Tier]) -> bool:
    """Return whether any tier has a package size of its own."""
    return any(tier.package_size is not None for tier in tiers)


def edge_decimals(tiers: Iterable[Tier]) -> int:
    """Return the most digits behind the point of any edge or package size."""
    return max(decimals_of_all((tier.up_to, tier.package_size)) for tier in tiers)


def amount_decimals(tiers: Iterable[Tier]) -> int:
    """Return the most digits behind the point of any amount."""
    return max(decimals_of_all((tier.unit_amount, tier.flat_amount, tier.package_amount)) for tier in tiers)


def graduated_table(tiers: Sequence[Tier], scale: Scale) -> SegmentTable:
    """Compile tiers that each price the units falling into them. Formula: prefix sums over the tiers."""
    front = scale.units(scale.free_front)
    edges = tuple(scale.units(tier.up_to) + front for tier in tiers if tier.up_to is not None)
    starts = (front, *edges)
    rates, flats, packages = _rates(tiers, scale), _flats(tiers, scale), _packages(tiers, scale)
    bases = [flats[0]]
    for i, edge in enumerate(edges):
        bases.append(bases[i] + rates[i] * (edge - starts[i]) + packages[i].price(edge - starts[i]) + flats[i + 1])
    return _table(tiers, scale, edges, starts, tuple(bases), cumulative=True)


def volume_table(tiers: Sequence[Tier], scale: Scale) -> SegmentTable:
    """Compile tiers of which the one reached prices all units.

    Included units are a free tier in front that shifts every edge: once usage passes it, the whole usage is
    priced. A usage discount is taken off before pricing instead.
    """
    front = scale.units(scale.free_front)
    start = scale.units(scale.usage_discount)
    edges = tuple(scale.units(tier.up_to) + front for tier in tiers if tier.up_to is not None)
    return _table(tiers, scale, edges, (start,) * len(tiers), _flats(tiers, scale), cumulative=False)


def _rates(tiers: Iterable[Tier], scale: Scale) -> tuple[int, ...]:
    return tuple(scale.rate(tier.unit_amount or _ZERO) for tier in tiers)


def _flats(tiers: Iterable[Tier], scale: Scale) -> tuple[int, ...]:
    return tuple(scale.amount(tier.flat_amount or _ZERO) for tier in tiers)


def _packages(tiers: Iterable[Tier], scale: Scale) -> tuple[Packages, ...]:
    """Return the packages of each tier; a tier without is one of packages that cost nothing."""
    one = Decimal(1)
    return tuple(
        Packages(scale.units(tier.package_size or one), scale.amount(tier.package_amount or _ZERO), tier.package_amount)
        for tier in tiers
    )


def _table(
    tiers: Sequence[Tier],
    scale: Scale,
    edges: tuple[int, ...],
    starts: tuple[int, ...],
    bases: tuple[int, ...],
    *,
    cumulative: bool,
) -> SegmentTable:
    flats = _flats(tiers, scale)
    pieces = tuple(
        Piece(f"tier-{i}-unit", tier.unit_amount, f"tier-{i}-flat", tier.flat_amount, flat)
        for i, (tier, flat) in enumerate(zip(tiers, flats, strict=True), start=1)
    )
    segments = SegmentTable(
        unit_one=scale.unit_one,
        free_up_to=scale.units(scale.free_front),
        at_free=flats[0] if scale.zero_fee and scale.included == 0 else 0,
        edges=edges,
        starts=starts,
        rates=_rates(tiers, scale),
        bases=bases,
        cumulative=cumulative,
        pieces=pieces,
    )
    return PackagedTable.of(segments, _packages(tiers, scale)) if sells_packages(tiers) else segments
