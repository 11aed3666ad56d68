"""Matrix: the price depends on properties of the usage, e.g. model and region.

The rule that matches most properties wins, the earlier of two equally specific ones; what no rule matches takes
the default, and is refused where there is none. Usage of one rule is added up before it is priced, so finer
groups than the rules ask for change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.tariffs.bucketed import price_of
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.flat import Flat
from pricing_engine.tariffs.graduated import Graduated
from pricing_engine.tariffs.graduated_percentage import GraduatedPercentage
from pricing_engine.tariffs.measure import Measure, after_allowance
from pricing_engine.tariffs.package import Package
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.table import Scale, Table, without_allowance
from pricing_engine.tariffs.unit import Unit
from pricing_engine.tariffs.volume import Volume

MAX_RULES = 10_000
DEFAULT_LABEL = "default"
DEFAULT_RULE = -1
Inner = Unit | Flat | Graduated | Volume | GraduatedPercentage | Package
_INNER: dict[str, type[Inner]] = {
    shape.model: shape for shape in (Unit, Flat, Graduated, Volume, GraduatedPercentage, Package)
}
INNER_MODELS = tuple(_INNER)
"""Models that a rule may have."""


@dataclass(frozen=True, slots=True)
class MatrixRule:
    """`price` applies where every property in `when` has the given value."""

    when: tuple[tuple[str, str], ...]
    price: Inner

    @property
    def label(self) -> str:
        """How lines name the rule: `model=small,region=eu`."""
        return ",".join(f"{name}={value}" for name, value in self.when)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rules by property values, and the price of everything else."""

    rules: tuple[MatrixRule, ...]
    default: Inner | None

    model = "matrix"

    @staticmethod
    def read(fields: Fields) -> Matrix:
        """Read `rules` and `default`."""
        rows = fields.array("rules", MAX_RULES, "too_many_rules") or []
        rules = tuple(_read_rule(row, f"{fields.path('rules')}[{i}]") for i, row in enumerate(rows))
        inner = fields.object("default")
        default = None if inner is None else _read_price(inner)
        if inner is not None:
            inner.finish("unknown_rule_field")
        if not rules and default is None:
            raise InvalidValueError("needs a rule or a default", field=fields.path("rules"), code="empty_matrix")
        seen: set[tuple[tuple[str, str], ...]] = set()
        for i, rule in enumerate(rules):
            if rule.when in seen:
                raise InvalidValueError(
                    "two rules match the same properties",
                    field=f"{fields.path('rules')}[{i}].when",
                    value=rule.label,
                    code="duplicate_rule",
                )
            seen.add(rule.when)
        return Matrix(rules, default)

    def document(self) -> dict[str, Any]:
        """Write rules and default in wire form."""
        document: dict[str, Any] = {}
        if self.rules:
            document["rules"] = [{"when": dict(rule.when)} | _price_document(rule.price) for rule in self.rules]
        if self.default is not None:
            document["default"] = _price_document(self.default)
        return document

    def prices(self) -> list[Inner]:
        """Every price, the default last."""
        return [rule.price for rule in self.rules] + ([] if self.default is None else [self.default])

    def unit_decimals(self) -> int:
        """Digits behind the point of quantities in any price."""
        return max(price.unit_decimals() for price in self.prices())

    def price_decimals(self) -> int:
        """Digits behind the point of amounts in any price."""
        return max(price.price_decimals() for price in self.prices())

    def pricer(self, scale: Scale) -> MatrixPricer:
        """Compile every price, and an index of the rules by the names they ask for."""
        bare = without_allowance(scale)
        index: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
        for i, rule in enumerate(self.rules):
            names = tuple(name for name, _ in rule.when)
            index.setdefault(names, {})[tuple(value for _, value in rule.when)] = i
        by_specificity = sorted(index.items(), key=lambda entry: (-len(entry[0]), min(entry[1].values())))
        return MatrixPricer(
            tables=tuple(rule.price.table(bare) for rule in self.rules),
            labels=tuple(rule.label for rule in self.rules),
            default=None if self.default is None else self.default.table(bare),
            index=tuple(by_specificity),
            front=scale.units(scale.free_front),
        )


def _read_rule(row: object, path: str) -> MatrixRule:
    fields = Fields(row, path)
    when = fields.require("when", "rule_without_condition")
    if not isinstance(when, Mapping) or not when:
        raise InvalidValueError(
            "must name at least one property", field=f"{path}.when", value=repr(when), code="rule_without_condition"
        )
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in when.items()):
        raise InvalidValueError(
            "property values must be text", field=f"{path}.when", value=repr(when), code="property_not_text"
        )
    rule = MatrixRule(tuple(sorted(when.items())), _read_price(fields))
    fields.finish("unknown_rule_field")
    return rule


def _read_price(fields: Fields) -> Inner:
    name = fields.choice("model", tuple(_INNER), "unknown_rule_model") or Unit.model
    return _INNER[name].read(fields)


def _price_document(price: Inner) -> dict[str, Any]:
    document = price.document()
    return document if isinstance(price, Unit) else {"model": price.model} | document


@dataclass(frozen=True, slots=True)
class MatrixPricer:
    """Tables by rule. `index`: property names asked for -> values -> rule, most specific names first."""

    tables: tuple[Table, ...]
    labels: tuple[str, ...]
    default: Table | None
    index: tuple[tuple[tuple[str, ...], dict[tuple[str, ...], int]], ...]
    front: int

    def rule_of(self, properties: Mapping[str, str]) -> int:
        """Return the index of the rule that prices these properties, or DEFAULT_RULE.

        Raises RuleBrokenError where no rule matches and there is no default.
        """
        best: int | None = None
        best_names = 0
        for names, rules in self.index:
            if best is not None and len(names) < best_names:
                break
            if not all(name in properties for name in names):
                continue
            rule = rules.get(tuple(properties[name] for name in names))
            if rule is not None and (best is None or rule < best):
                best, best_names = rule, len(names)
        if best is not None:
            return best
        if self.default is None:
            shown = ",".join(f"{name}={value}" for name, value in sorted(properties.items()))
            raise RuleBrokenError(
                "no rule matches and there is no default price",
                field="usage.groups",
                value=shown,
                code="no_matching_price",
            )
        return DEFAULT_RULE

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return each rule's price of the units it matches, rules in order, the default last."""
        if measure.groups is None:
            raise InvalidValueError("this model prices groups", field="usage.groups", code="groups_required")
        units: dict[int, int] = {}
        for properties, quantity in measure.groups:
            rule = self.rule_of(properties)
            units[rule] = units.get(rule, 0) + quantity
        order = sorted(units, key=lambda rule: len(self.tables) if rule < 0 else rule)
        lines: list[LineDraft] = []
        for rule, quantity in zip(order, after_allowance((units[rule] for rule in order), self.front), strict=True):
            table, label = (self.default, DEFAULT_LABEL) if rule < 0 else (self.tables[rule], self.labels[rule])
            if table is not None:
                lines += [_labelled(line, label) for line in price_of(table, quantity)]
        return lines


def _labelled(line: LineDraft, label: str) -> LineDraft:
    line.component = f"{label}:{line.component}"
    return line
