"""Catalog files: every error names file, line, key, value and rule; what is written reads back."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.catalog_file import CatalogFileError, catalog_json_schema, read_catalog, write_catalog
from pricing_engine.price_book import diff_price_books, price_book_document

EXAMPLE = Path(__file__).parents[3] / "examples" / "llm_gateway" / "catalog.yaml"

BAD = [
    ("key: cached_tokens", "key: cached_tokenz", "unknown_meter", "features.prompt_cache.meter", 48),
    ('up_to: "100000000"', 'up_to: "1000000"', "tiers_unsorted", "features[2].tariff.tiers[1].up_to", 58),
    ("    kind: quantity", "    kind: many", "invalid_value", "features[6].kind", 94),
    ("currency: USD", "currency: usd", "unknown_currency", "currency", 5),
    ("version: 1", "version: 0", "invalid_value", "version", 4),
    ("version: 1", "version: 1\nversion: 2", "duplicate_key", "", 5),
    ("version: 1", "version: 1\nsurprise: 2", "invalid_value", "", 3),
    ("needs: [seats]", "needs: [chairs]", "unknown_feature", "rules[3]", 136),
    ("features: [seats, sso, audit_log]", "features: [sso, audit_log]", "bundle_breaks_rule", "bundles.team", 140),
    ('percent: "15"', 'percent: "115"', "percent_above_100", "bundles.team.percent", 140),
    ("      may_fall: true\n", "", "price_may_fall", "features.long_context.tariff", 85),
    ('unit_amount: "8"', "unit_amount: -8", "negative_price", "features[6].tariff.unit_amount", 101),
    ('unit_amount: "8"', "unit_amount: .nan", "not_a_number", "features[6].tariff.unit_amount", 101),
    (
        "needs: [seats]}",
        "needs: [seats]}\n  - {rule: requires, feature: seats, needs: [sso]}",
        "rule_cycle",
        "rules",
        131,
    ),
]


@pytest.mark.parametrize(
    ("good", "bad", "code", "field", "line"), BAD, ids=[f"{row[2]}-{i}" for i, row in enumerate(BAD)]
)
def test_a_bad_file_is_refused_by_line_and_rule(
    tmp_path: Path, good: str, bad: str, code: str, field: str, line: int
) -> None:
    text = EXAMPLE.read_text()
    assert good in text
    path = tmp_path / "catalog.yaml"
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(CatalogFileError) as refused:
        read_catalog(path)
    assert refused.value.code == code
    assert refused.value.field.startswith(f"{path}:")
    assert field in refused.value.field
    assert abs(int(refused.value.field.split(":")[1]) - line) <= 2


def test_a_truncated_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(EXAMPLE.read_text()[:1500])
    with pytest.raises(CatalogFileError):
        read_catalog(path)
    with pytest.raises(CatalogFileError, match="No such file"):
        read_catalog(tmp_path / "nothing.yaml")


def test_a_decimal_keeps_its_digits_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(EXAMPLE.read_text().replace('"0.0000006"', "0.1234567890123456789012"))
    rules = price_book_document(read_catalog(path))["features"][1]["tariff"]["rules"]
    assert rules[0]["unit_amount"] == "0.1234567890123456789012"


def test_what_is_written_reads_back_to_the_same_book(tmp_path: Path) -> None:
    book = read_catalog(EXAMPLE)
    path = tmp_path / "catalog.yaml"
    path.write_text(write_catalog(book))
    assert read_catalog(path) == book


def test_the_shipped_schema_is_current() -> None:
    assert (EXAMPLE.parents[1] / "catalog.schema.json").read_text() == catalog_json_schema()


def test_a_diff_names_what_changed_by_key(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(EXAMPLE.read_text().replace('unit_amount: "8"', 'unit_amount: "9"'))
    changes = diff_price_books(read_catalog(EXAMPLE), read_catalog(path))
    assert [(change.path, change.before, change.after) for change in changes] == [
        ("features.seats.tariff.unit_amount", "8", "9")
    ]
