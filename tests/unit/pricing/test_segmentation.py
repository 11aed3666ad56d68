"""What segments are formed from: what must not set prices forms none, and who buys does not read it."""

from __future__ import annotations

import pytest

from models.values.errors import InvalidValueError
from pricing_engine.price_book import (
    BOOK_KIND,
    diff_price_books,
    opened_price_book,
    parse_price_book,
    price_book_document,
    price_book_sections,
)
from pricing_engine.sealing import Disclosure, disclose, open_sealed, seal
from pricing_engine.segmentation import ForbiddenAttributeError, Segmentation
from tests.quote_facts import BOOK, SIGNER, price_book

SALT = b"a book's salt, 32 bytes of it, secret"


@pytest.mark.parametrize(
    ("segmentation", "attribute"),
    [
        ({"formed_from": {"young": ["company_size", "age"]}}, "age"),
        ({"formed_from": {"young": ["date-of-birth"]}}, "date-of-birth"),
        ({"formed_from": {"members": ["trade_union"]}, "forbidden": ["trade.union"]}, "trade_union"),
        ({"formed_from": {"north": ["postcode"]}, "proxies": {"postcode": "ethnic_origin"}}, "postcode"),
    ],
)
def test_what_must_not_set_prices_forms_no_segment(segmentation: dict[str, object], attribute: str) -> None:
    with pytest.raises(ForbiddenAttributeError, match="must not set prices") as refused:
        parse_price_book({**BOOK, "segmentation": segmentation})
    assert (refused.value.code, refused.value.value) == ("forbidden_attribute", attribute)
    assert refused.value.field.startswith("segmentation.formed_from.")


@pytest.mark.parametrize(
    "formed_from", [{"default": ["plan"]}, {"small": []}, {"Small": ["plan"]}, {"small": ["Plan"]}]
)
def test_a_segment_has_a_name_and_attributes_of_its_own(formed_from: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidValueError):
        parse_price_book({**BOOK, "segmentation": {"formed_from": formed_from}})


def test_only_a_declared_segment_is_priced_apart() -> None:
    segmentation = Segmentation(formed_from={"small": ("company_size", "plan"), "large": ("company_size",)})
    assert segmentation.attributes == ("company_size", "plan")
    assert [segmentation.priced_as(name) for name in ("small", "women", "default")] == ["small", "default", "default"]


def test_auditors_read_what_segments_are_formed_from_and_buyers_do_not() -> None:
    book = price_book(segmentation={"formed_from": {"small": ["company_size"]}, "proxies": {"postcode": "race"}})
    sealed = seal(BOOK_KIND, price_book_sections(book), SALT, SIGNER)
    assert opened_price_book(open_sealed(sealed, BOOK_KIND)) == book
    shown = disclose(sealed, Disclosure.BUYER)
    assert "company_size" not in str(shown)
    assert opened_price_book(open_sealed(shown, BOOK_KIND)).segmentation == Segmentation()
    [change] = diff_price_books(price_book(), book)
    assert (change.path, change.after) == ("segmentation", price_book_document(book)["segmentation"])
    # A book without segments is sealed as it always was.
    assert [section.path for section in price_book_sections(price_book())][:2] == ["book", "features/tokens"]
