"""Which tax a line bears, and where a debt stands: both by dates alone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.customers import Customer, LegalEntity
from billing.dunning import CLEAR, Debt, Stage, check_stages, next_steps, standing
from billing.tax import BuiltInRates
from models.values.errors import InvalidValueError, NotFoundError

DUE = date(2012, 5, 31)
UNION = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
    "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip
STAGES = (Stage("OD1", 30), Stage("OD2", 40, blocks=True), Stage("OD3", 50, blocks=True))


def rate(
    buyer: str, seller: str, on: str, *, category: str = "standard", tax_id: str = "", exempt: bool = False
) -> str:
    customer = Customer("c", "main", "C", buyer, "EUR", tax_id=tax_id, tax_exempt=exempt)
    found = BuiltInRates().rate(category, customer, LegalEntity("main", "M", seller), date.fromisoformat(on))
    return f"{found.code} {found.percent}"


def test_a_domestic_line_bears_the_rate_of_its_date() -> None:
    assert rate("DE", "DE", "2020-06-30") == "de.standard 19"
    assert rate("DE", "DE", "2020-07-01") == "de.standard 16"
    assert rate("DE", "DE", "2021-01-01") == "de.standard 19"
    assert rate("KR", "KR", "2026-01-01") == "kr.standard 10"
    assert rate("CH", "CH", "2023-12-31", category="reduced") == "ch.reduced 2.5"


def test_abroad_depends_on_the_union_and_on_the_buyers_tax_id() -> None:
    assert rate("FR", "DE", "2026-01-01") == "fr.standard 20"
    assert rate("FR", "DE", "2026-01-01", tax_id="FR1") == "reverse_charge 0"
    assert rate("US", "DE", "2026-01-01") == rate("DE", "US", "2026-01-01") == "export 0"
    assert rate("US", "DE", "2026-01-01", tax_id="US1") == "export 0"
    assert rate("DE", "DE", "2026-01-01", tax_id="DE1") == "de.standard 19"
    assert rate("DE", "DE", "2026-01-01", exempt=True) == "exempt 0"
    assert rate("US", "US", "2026-01-01") == "none 0"


def test_a_consumer_in_any_country_of_the_union_has_a_rate() -> None:
    rates = {country: rate(country, "FR" if country == "DE" else "DE", "2026-01-01") for country in UNION}
    assert all(found.startswith(f"{country.lower()}.standard ") for country, found in rates.items())
    assert (rates["EE"], rates["SK"], rates["HR"]) == ("ee.standard 24", "sk.standard 23", "hr.standard 25")


@pytest.mark.parametrize(("country", "category"), [("BR", "standard"), ("DE", "luxury")])
def test_what_is_not_on_record_is_refused_not_taken_for_nothing(country: str, category: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        rate(country, country, "2026-01-01", category=category)
    assert refused.value.code == "unknown_tax_rate"


@pytest.mark.parametrize(
    ("on", "stage"),
    [("2012-06-08", None), ("2012-06-29", None), ("2012-06-30", "OD1"), ("2012-07-10", "OD2"), ("2012-07-20", "OD3")],
)
def test_a_debt_ages_from_the_day_it_is_due(on: str, stage: str | None) -> None:
    debts = [Debt("2", date(2012, 6, 30), 500), Debt("1", DUE, 100)]
    found = standing(debts, STAGES, date.fromisoformat(on))
    assert (found.stage.name if found.stage else None) == stage
    assert found.invoice == (None if stage is None else "1")


def test_nothing_open_is_clear_and_what_is_to_come_is_told() -> None:
    assert standing([], STAGES, DUE) == CLEAR
    assert next_steps([], STAGES, DUE) == []
    coming = next_steps([Debt("1", DUE, 1)], STAGES, date(2012, 7, 1))
    assert [(day.isoformat(), stage.name) for day, stage in coming] == [("2012-07-10", "OD2"), ("2012-07-20", "OD3")]


@pytest.mark.parametrize("days", [[], [0, 3], [3, 3], [5, 3]])
def test_stages_that_do_not_rise_are_refused(days: list[int]) -> None:
    with pytest.raises(InvalidValueError):
        check_stages([Stage(str(day), day) for day in days])


def test_percent_is_a_decimal() -> None:
    assert BuiltInRates().rate(
        "standard", Customer("c", "main", "C", "FI", "EUR"), LegalEntity("main", "M", "FI"), date(2025, 1, 1)
    ).percent == Decimal("25.5")
