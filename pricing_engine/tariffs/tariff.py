"""The tariff: how one feature is priced. A price shape, and the modifiers around it.

Wire form: one object with `model`, the fields of that model, and the modifiers; numbers are decimal strings,
percents as 50 = 50 %, null or absent means that the component is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from models.values.errors import InvalidValueError
from models.values.ids import check_key
from models.values.quantity import plain
from pricing_engine.tariffs.bucketed import PREFIX, Bucketed
from pricing_engine.tariffs.conversion import UnitConversion
from pricing_engine.tariffs.dynamic import Dynamic
from pricing_engine.tariffs.flat import Flat
from pricing_engine.tariffs.graduated import Graduated
from pricing_engine.tariffs.graduated_percentage import GraduatedPercentage
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.modifiers import Overage
from pricing_engine.tariffs.package import Package
from pricing_engine.tariffs.percentage import Percentage
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.tier import sells_packages
from pricing_engine.tariffs.unit import Unit
from pricing_engine.tariffs.volume import Volume
from pricing_engine.tariffs.windows import Windows

DIFFERENCE = "difference"
LAST_ONLY = "last_only"

Shape = Flat | Unit | Graduated | Volume | Package | Percentage | GraduatedPercentage | Dynamic | Bucketed | Matrix
_READERS = {
    shape.model: shape.read
    for shape in (Flat, Unit, Graduated, Volume, Package, Percentage, GraduatedPercentage, Dynamic, Matrix)
} | {PREFIX + inner.model: partial(Bucketed.read, inner=inner) for inner in (Unit, Graduated, Volume, Package)}
MODELS = tuple(_READERS)
"""Every model name on the wire."""

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tariff:
    """How one feature is priced. Amounts in major units of the currency it is rated in; None is absent.

    included_units: a free tier in front; for `volume` usage beyond it is priced whole, free part included.
    usage_discount: billable units taken off before pricing.
    billing_units: block size; usage counts in blocks begun, and a unit amount is the price of a block.
    zero_usage_flat_fee: whether the first tier's flat amount is due without usage.
    allow_negative: None refuses a negative quantity, False rates it as zero, True mirrors the price.
    volume_split: `difference` bills each split of a period at once, `last_only` all with the last one.
    may_fall: the seller knows that more units can cost less (volume).
    prorated: tiers are picked by the level, units are priced by time (graduated, volume).
    windows: weights of units by time of day.
    """

    shape: Shape
    unit_conversion: UnitConversion | None = None
    billing_units: Decimal | None = None
    included_units: Decimal | None = None
    usage_discount: Decimal | None = None
    event_minimum: Decimal | None = None
    overage: Overage | None = None
    percentage_discount: Decimal | None = None
    maximum_spend: Decimal | None = None
    minimum_spend: Decimal | None = None
    zero_usage_flat_fee: bool = True
    allow_negative: bool | None = None
    volume_split: str = DIFFERENCE
    may_fall: bool = False
    prorated: bool = False
    windows: Windows | None = None
    tax_category: str | None = None

    @property
    def model(self) -> str:
        """Name of the price shape on the wire."""
        return self.shape.model


def price_can_fall(tariff: Tariff) -> bool:
    """Return whether more units can cost less, which only volume prices do. Sellers say so with `may_fall`."""
    shape = tariff.shape
    if isinstance(shape, Volume):
        return shape.can_fall(tariff.included_units or _ZERO)
    if isinstance(shape, Matrix):
        return any(isinstance(price, Volume) and price.can_fall(_ZERO) for price in shape.prices())
    return isinstance(shape, Bucketed) and isinstance(shape.inner, Volume) and shape.inner.can_fall(_ZERO)


def parse_tariff(document: Mapping[str, Any], field: str = "tariff") -> Tariff:
    """Read a tariff from its wire form.

    Raises InvalidValueError, or LimitExceededError beyond what is exact, naming field, value and rule.
    """
    fields = Fields(document, field)
    model = fields.require("model", "missing_model")
    reader = _READERS.get(model) if isinstance(model, str) else None
    if reader is None:
        raise InvalidValueError(
            f"must be one of {', '.join(MODELS)}", field=fields.path("model"), value=repr(model), code="unknown_model"
        )
    shape = reader(fields)
    conversion = fields.object("unit_conversion")
    overage = fields.object("overage")
    windows = fields.object("windows")
    category = fields.take("tax_category")
    tariff = Tariff(
        shape,
        unit_conversion=None if conversion is None else UnitConversion.read(conversion),
        billing_units=fields.positive("billing_units", "billing_units_not_positive"),
        included_units=fields.amount("included_units", "negative_included_units"),
        usage_discount=fields.amount("usage_discount", "negative_usage_discount"),
        event_minimum=fields.amount("event_minimum", "negative_event_minimum"),
        overage=None if overage is None else Overage.read(overage),
        percentage_discount=fields.percent(
            "percentage_discount", "percentage_discount_out_of_range", at_most_hundred=True
        ),
        maximum_spend=fields.amount("maximum_spend", "negative_maximum_spend"),
        minimum_spend=fields.amount("minimum_spend", "negative_minimum_spend"),
        zero_usage_flat_fee=fields.flag("zero_usage_flat_fee") is not False,
        allow_negative=fields.flag("allow_negative"),
        volume_split=fields.choice("volume_split", (DIFFERENCE, LAST_ONLY), "unknown_volume_split") or DIFFERENCE,
        may_fall=fields.flag("may_fall") or False,
        prorated=fields.flag("prorated") or False,
        windows=None if windows is None else Windows.read(windows),
        tax_category=None if category is None else check_key(category, fields.path("tax_category")),
    )
    fields.finish()
    _check(tariff, field)
    return tariff


def _check(tariff: Tariff, field: str) -> None:
    low, high = tariff.minimum_spend, tariff.maximum_spend
    if low is not None and high is not None and low > high:
        raise InvalidValueError(
            f"must not exceed maximum_spend {plain(high)}",
            field=f"{field}.minimum_spend",
            value=low,
            code="minimum_above_maximum",
        )
    if tariff.volume_split == LAST_ONLY and not isinstance(tariff.shape, Volume):
        raise InvalidValueError(
            "only a volume price may wait for the last split",
            field=f"{field}.volume_split",
            code="split_without_volume",
        )
    if tariff.prorated and not isinstance(tariff.shape, Graduated | Volume):
        raise InvalidValueError(
            "only graduated and volume prices know a level and its prorated units",
            field=f"{field}.prorated",
            code="prorated_without_tiers",
        )
    _check_units(tariff, field)
    if isinstance(tariff.shape, Graduated | Volume) and sells_packages(tariff.shape.tiers):
        _check_packages(tariff, field)
    if tariff.billing_units is not None:
        if not isinstance(tariff.shape, Unit | Graduated | Volume):
            raise InvalidValueError(
                "blocks are for unit, graduated and volume prices",
                field=f"{field}.billing_units",
                code="blocks_without_units",
            )
        if tariff.unit_conversion is not None:
            raise InvalidValueError(
                "is itself a conversion: give one of both", field=f"{field}.billing_units", code="two_conversions"
            )


def _check_units(tariff: Tariff, field: str) -> None:
    if isinstance(tariff.shape, Flat):
        quantities = (tariff.unit_conversion, tariff.included_units, tariff.usage_discount, tariff.windows)
        if any(quantity is not None for quantity in quantities):
            raise InvalidValueError(
                "a flat price has no units to weigh, convert, include or discount", field=field, code="flat_with_units"
            )
    if isinstance(tariff.shape, Matrix) and tariff.windows is not None:
        raise InvalidValueError(
            "a matrix prices groups, which have no time: name the window in a property",
            field=f"{field}.windows",
            code="windows_without_units",
        )


def _check_packages(tariff: Tariff, field: str) -> None:
    if tariff.billing_units is not None:
        raise InvalidValueError(
            "tiers have packages of their own", field=f"{field}.billing_units", code="blocks_and_packages"
        )
    if tariff.prorated:
        raise InvalidValueError(
            "a package is due whole: it has no part of a period", field=f"{field}.prorated", code="prorated_packages"
        )


_NUMBERS = (
    "billing_units",
    "included_units",
    "usage_discount",
    "event_minimum",
    "percentage_discount",
    "maximum_spend",
    "minimum_spend",
)
_DEFAULTS: dict[str, object] = {
    "zero_usage_flat_fee": True,
    "allow_negative": None,
    "volume_split": DIFFERENCE,
    "may_fall": False,
    "prorated": False,
    "tax_category": None,
}


def tariff_document(tariff: Tariff) -> dict[str, Any]:
    """Write a tariff in canonical wire form: only what is present and not the default, plain numbers."""
    document = {"model": tariff.model} | tariff.shape.document()
    for name in _NUMBERS:
        number = getattr(tariff, name)
        if number is not None:
            document[name] = plain(number)
    for name in ("unit_conversion", "overage", "windows"):
        part = getattr(tariff, name)
        if part is not None:
            document[name] = part.document()
    for name, default in _DEFAULTS.items():
        value = getattr(tariff, name)
        if value != default:
            document[name] = value
    return document
