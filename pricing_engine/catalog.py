"""The catalog: features, meters, rules, bundles and the discount schedule by number of features.

All values are immutable and have one document form (YAML or JSON): lists of objects whose fields are the
attributes below, numbers as decimal strings. Unknown fields are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from models.values.errors import InvalidValueError, NotFoundError, RuleBrokenError
from models.values.ids import check_key
from models.values.quantity import parse_decimal
from pricing_engine.demand.guardrails import PriceLadder, Rails
from pricing_engine.metered_tariff import check_metered, check_unmetered
from pricing_engine.segmentation import Segmentation
from pricing_engine.tariffs.tariff import Tariff, price_can_fall

HUNDRED = Decimal(100)
_ZERO = Decimal(0)
_LONGEST_SUPPLY_DAYS = 3_650


class SelectionRefusedError(RuleBrokenError):
    """A selection of features breaks a rule of the catalog."""

    code = "selection_refused"


class FeatureKind(StrEnum):
    """How a feature's quantity arises."""

    SWITCH = "switch"  # On or off: quantity 1 a period.
    QUANTITY = "quantity"  # As many as ordered: seats.
    METERED = "metered"  # What its meter counts.


if TYPE_CHECKING:
    TariffField = Tariff
else:
    TariffField = Any  # A tariff reads itself: msgspec would take the dataclass apart.


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base of the catalog's values."""


class Meter(Value, frozen=True):
    """Turns usage events of one type into a quantity.

    `value_property` names the field of an event's data that is aggregated (none for `count`); `group_by`
    names the properties kept apart; `filters` keeps events whose property has one of the given values.
    """

    key: str
    event_type: str
    aggregation: str = "sum"
    value_property: str | None = None
    group_by: tuple[str, ...] = ()
    filters: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        """Refuse a meter that adds up nothing."""
        check_key(self.key, "meter.key")
        if self.value_property is None and self.aggregation != "count":
            raise InvalidValueError(
                f"aggregation {self.aggregation} needs a value_property", field=f"meters.{self.key}", value=None
            )


class PartnerShare(Value, frozen=True):
    """What a partner earns of a feature: a percent of its net amount, or an amount per unit; exactly one."""

    partner: str
    percent: Decimal | None = None
    per_unit: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse a share that is ambiguous or outside its range."""
        check_key(self.partner, "partner.partner")
        if (self.percent is None) == (self.per_unit is None):
            raise InvalidValueError("needs either percent or per_unit", field="partner", value=self.partner)
        if self.percent is not None:
            _check_percent(self.percent, "partner.percent")
        if self.per_unit is not None:
            parse_decimal(self.per_unit, "partner.per_unit", minimum=_ZERO)


class FeatureRails(Value, frozen=True):
    """Guard rails as a person writes them; shares are fractions (0.1 is 10 percent). See `Rails`.

    Without a `ladder_step` it is one minor unit of the currency, where the list price is whole in it, else 0.01.
    `supply_days`: how long what is left of a limited feature should last.
    """

    floor_margin: Decimal = _ZERO
    floor: Decimal | None = None
    ceiling: Decimal | None = None
    largest_step: Decimal | None = Decimal("0.1")
    largest_step_30_days: Decimal | None = Decimal("0.3")
    segment_ratio: Decimal | None = Decimal("1.25")
    ladder_step: Decimal | None = None
    ladder_ending: Decimal = _ZERO
    minimum_quotes: int = 200
    jitter: Decimal = Decimal("0.05")
    below_cost: str = ""
    supply_days: int = 30

    def __post_init__(self) -> None:
        """Refuse what `Rails` refuses, and stock that should last less than a day or more than ten years."""
        self.rails()
        if not 1 <= self.supply_days <= _LONGEST_SUPPLY_DAYS:
            raise InvalidValueError(
                f"must be within 1..{_LONGEST_SUPPLY_DAYS}", field="rails.supply_days", value=self.supply_days
            )

    def rails(self, ladder_step: Decimal = Decimal("0.01")) -> Rails:
        """Return the rails the model obeys. `ladder_step`: where none is written."""
        return Rails(
            floor_margin=self.floor_margin,
            floor=self.floor,
            ceiling=self.ceiling,
            largest_step=self.largest_step,
            largest_step_30_days=self.largest_step_30_days,
            segment_ratio=self.segment_ratio,
            ladder=PriceLadder(ladder_step if self.ladder_step is None else self.ladder_step, self.ladder_ending),
            minimum_quotes=self.minimum_quotes,
            jitter=self.jitter,
        )


class Feature(Value, frozen=True):
    """A capability that is sold, with its own tariff, cost and bounds.

    `unit_cost`: major units per unit (per period for a switch), `cost_source` where it comes from.
    `below_cost` in `rails` names why this feature may be sold below cost; without it no discount may go
    below. `adaptive` lets the demand model move the price of a `flat` or `unit` tariff inside `rails`.
    `billed` says when a switch or quantity is charged; metered features are always charged in arrears.
    """

    key: str
    name: str
    kind: FeatureKind
    tariff: TariffField
    unit_cost: Decimal = _ZERO
    cost_source: str = ""
    meter: str | None = None
    category: str = ""
    minimum_quantity: Decimal = Decimal(1)
    supply_limit: int | None = None
    partner: PartnerShare | None = None
    billed: str = "arrears"
    adaptive: bool = False
    rails: FeatureRails = FeatureRails()

    def __post_init__(self) -> None:
        """Refuse contradictions between kind, meter, tariff and the rest."""
        check_key(self.key, "feature.key")
        where = f"features.{self.key}"
        if not isinstance(self.tariff, Tariff):
            raise InvalidValueError("must be a tariff", field=f"{where}.tariff", value=self.tariff)
        parse_decimal(self.unit_cost, f"{where}.unit_cost", minimum=_ZERO)
        parse_decimal(self.minimum_quantity, f"{where}.minimum_quantity", minimum=_ZERO)
        if (self.kind is FeatureKind.METERED) != (self.meter is not None):
            raise InvalidValueError("a metered feature, and no other, has a meter", field=where, value=self.meter)
        if price_can_fall(self.tariff) and not self.tariff.may_fall:
            raise InvalidValueError(
                "more units can cost less; say may_fall: true if that is meant",
                field=f"{where}.tariff",
                value=self.tariff.model,
                code="price_may_fall",
            )
        if self.billed not in {"advance", "arrears"}:
            raise InvalidValueError("must be advance or arrears", field=f"{where}.billed", value=self.billed)
        if self.billed == "advance" and self.kind is FeatureKind.METERED:
            raise InvalidValueError("usage is known in arrears only", field=f"{where}.billed", value=self.billed)
        if self.supply_limit is not None and self.supply_limit < 0:
            raise InvalidValueError("must be >= 0", field=f"{where}.supply_limit", value=self.supply_limit)
        if self.adaptive and self.tariff.model not in {"flat", "unit"}:
            raise InvalidValueError(
                "only a flat or unit tariff has one price to adapt", field=f"{where}.adaptive", value=self.tariff.model
            )

    @property
    def tax_category(self) -> str:
        """The category its tariff names, or the standard one."""
        return self.tariff.tax_category or "standard"

    @property
    def least_quantity(self) -> Decimal:
        """The quantity at which a feature outside the selection counts towards a bundle's price."""
        match self.kind:
            case FeatureKind.SWITCH:
                return Decimal(1)
            case FeatureKind.QUANTITY:
                return self.minimum_quantity
            case FeatureKind.METERED:
                return _ZERO


class Requires(Value, frozen=True, tag="requires", tag_field="rule"):
    """`feature` can be chosen only together with every one of `needs`."""

    feature: str
    needs: tuple[str, ...]


class Excludes(Value, frozen=True, tag="excludes", tag_field="rule"):
    """Of `features`, no two can be chosen together."""

    features: tuple[str, ...]


class AtMost(Value, frozen=True, tag="at_most", tag_field="rule"):
    """Of `features`, at most `count` can be chosen together."""

    count: int
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a rule that can never or must always be broken."""
        if not 0 < self.count < len(self.features):
            raise InvalidValueError("needs 0 < count < number of features", field="rules.at_most", value=self.count)


Rule = Requires | Excludes | AtMost


class Bundle(Value, frozen=True):
    """A named set of features at a discount; its price caps every subset of it."""

    key: str
    name: str
    features: tuple[str, ...]
    percent: Decimal

    def __post_init__(self) -> None:
        """Refuse an empty set and a discount outside 0 to 100 percent."""
        check_key(self.key, "bundle.key")
        _check_percent(self.percent, f"bundles.{self.key}.percent")
        if not self.features or len(set(self.features)) != len(self.features):
            raise InvalidValueError(
                "needs at least one feature, none twice", field=f"bundles.{self.key}.features", value=self.features
            )


class SizeDiscount(Value, frozen=True):
    """From this number of chosen features on, this percent off."""

    features: int
    percent: Decimal

    def __post_init__(self) -> None:
        """Refuse a step at no feature and a discount outside 0 to 100 percent."""
        _check_percent(self.percent, "size_discounts.percent")
        if self.features < 1:
            raise InvalidValueError("must be >= 1", field="size_discounts.features", value=self.features)


class Catalog(Value, frozen=True):
    """What can be chosen, and which choices go together."""

    features: tuple[Feature, ...]
    meters: tuple[Meter, ...] = ()
    rules: tuple[Rule, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    size_discounts: tuple[SizeDiscount, ...] = ()
    segmentation: Segmentation = Segmentation()

    def __post_init__(self) -> None:
        """Refuse whatever makes the catalog as a whole contradictory."""
        self._check_keys()
        self._check_references()
        self._check_bundles()
        steps = [(step.features, step.percent) for step in self.size_discounts]
        rises = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(steps))
        if not rises:
            raise InvalidValueError(
                "must rise by number of features, percent never falling", field="size_discounts", value=steps
            )

    def feature(self, key: str) -> Feature:
        """Return one feature. Raises NotFoundError."""
        for feature in self.features:
            if feature.key == key:
                return feature
        raise unknown_feature(key)

    def meter(self, key: str) -> Meter:
        """Return one meter. Raises NotFoundError."""
        for meter in self.meters:
            if meter.key == key:
                return meter
        raise NotFoundError("is not a meter of this catalog", field="meter", value=key, code="unknown_meter")

    def check_selection(self, chosen: Iterable[str]) -> None:
        """Raise SelectionRefusedError (or NotFoundError) unless `chosen` obeys every rule."""
        selected = set(chosen)
        unknown = sorted(selected - {feature.key for feature in self.features})
        if unknown:
            raise unknown_feature(unknown[0])
        for rule in self.rules:
            broken = _broken_by(rule, selected)
            if broken:
                raise SelectionRefusedError(broken, field="selection", value=sorted(selected))

    def dropped_with(self, key: str, chosen: Iterable[str]) -> tuple[str, ...]:
        """Return `key` and all of `chosen` that requires it, directly or not, in catalog order."""
        gone = {key}
        selected = set(chosen)
        needs = [rule for rule in self.rules if isinstance(rule, Requires) and rule.feature in selected]
        grew = True
        while grew:
            grew = False
            for rule in needs:
                if rule.feature not in gone and not gone.isdisjoint(rule.needs):
                    gone.add(rule.feature)
                    grew = True
        return tuple(feature.key for feature in self.features if feature.key in gone)

    def completed(self, chosen: Iterable[str]) -> frozenset[str] | None:
        """Return `chosen` with all that it requires, directly or not; None where they do not go together."""
        selected = set(chosen)
        needs = [rule for rule in self.rules if isinstance(rule, Requires)]
        while missing := {
            need for rule in needs if rule.feature in selected for need in rule.needs if need not in selected
        }:
            selected |= missing
        return None if any(_broken_by(rule, selected) for rule in self.rules) else frozenset(selected)

    def _check_keys(self) -> None:
        for name, values in (("features", self.features), ("meters", self.meters), ("bundles", self.bundles)):
            seen: set[str] = set()
            for value in values:
                if value.key in seen:
                    raise InvalidValueError("key stands twice", field=f"{name}.{value.key}", value=value.key)
                seen.add(value.key)

    def _check_references(self) -> None:
        features = {feature.key for feature in self.features}
        meters = {meter.key: meter for meter in self.meters}
        for feature in self.features:
            if feature.meter is None:
                check_unmetered(feature.tariff, f"features.{feature.key}.tariff")
                continue
            if feature.meter not in meters:
                raise NotFoundError(
                    "no such meter", field=f"features.{feature.key}.meter", value=feature.meter, code="unknown_meter"
                )
            meter = meters[feature.meter]
            check_metered(feature.tariff, meter.aggregation, meter.group_by, f"features.{feature.key}.tariff")
        for place, names in self._named_features():
            for name in names:
                if name not in features:
                    raise NotFoundError("no such feature", field=place, value=name, code="unknown_feature")
        self._check_cycles()

    def _named_features(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        for number, rule in enumerate(self.rules):
            named = (rule.feature, *rule.needs) if isinstance(rule, Requires) else rule.features
            yield f"rules[{number}]", named
        for bundle in self.bundles:
            yield f"bundles.{bundle.key}.features", bundle.features

    def _check_cycles(self) -> None:
        needs: dict[str, set[str]] = {}
        for rule in self.rules:
            if isinstance(rule, Requires):
                needs.setdefault(rule.feature, set()).update(rule.needs)
        for start in sorted(needs):
            reached: set[str] = set()
            frontier = [start]
            while frontier:
                for needed in needs.get(frontier.pop(), ()):
                    if needed not in reached:
                        reached.add(needed)
                        frontier.append(needed)
            if start in reached:
                raise RuleBrokenError(
                    "must not require itself, directly or not", field="rules", value=start, code="rule_cycle"
                )

    def _check_bundles(self) -> None:
        for bundle in self.bundles:
            for rule in self.rules:
                broken = _broken_by(rule, set(bundle.features), f"which the bundle `{bundle.key}` lacks")
                if broken:
                    raise RuleBrokenError(broken, field=f"bundles.{bundle.key}", code="bundle_breaks_rule")


def unknown_feature(key: str) -> NotFoundError:
    """Return the refusal of a feature that the catalog does not have."""
    return NotFoundError("is not a feature of this catalog", field="selection", value=key, code="unknown_feature")


def _broken_by(rule: Rule, selected: set[str], lacking: str = "which is not chosen") -> str:
    """Return the sentence that says how `selected` breaks `rule`, or nothing."""
    match rule:
        case Requires():
            missing = [need for need in rule.needs if need not in selected]
            if rule.feature in selected and missing:
                return f"`{rule.feature}` requires `{missing[0]}`, {lacking}"
        case Excludes():
            together = [name for name in rule.features if name in selected]
            if len(together) > 1:
                return f"`{together[0]}` excludes `{together[1]}`"
        case AtMost():
            together = [name for name in rule.features if name in selected]
            if len(together) > rule.count:
                return f"at most {rule.count} of {', '.join(rule.features)} go together"
    return ""


def _check_percent(percent: Decimal, field: str) -> None:
    parse_decimal(percent, field, minimum=_ZERO)
    if percent > HUNDRED:
        raise InvalidValueError("must be at most 100 percent", field=field, value=percent, code="percent_above_100")
