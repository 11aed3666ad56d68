"""Forty bad inputs, each sent through a door that takes such input, and how it is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.quote_facts import BOOK

EVENTS = "/v1/events"
QUOTES = "/v1/quotes"
BOOKS = "/v1/price-books"
WALLETS = "/v1/customers/acme-default/wallets"
KNOWN = {
    "specversion": "1.0",
    "id": "known",
    "source": "gateway",
    "type": "llm.request",
    "subject": "acme-default",
    "time": "2026-03-01T11:00:00Z",
    "data": {"tokens": "5"},
}
"""An event that was stored before."""


@dataclass(frozen=True)
class BadInput:
    """A request with `body`, sent as it is where it is bytes, that is answered with `status` and `code`."""

    number: int
    name: str
    code: str
    path: str = EVENTS
    body: Any = None
    status: int = 422
    method: str = "POST"
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def event(**changes: Any) -> dict[str, Any]:
    """Return a new event, with changes."""
    return {**KNOWN, "id": "bad", **changes}


def counted(number: str) -> bytes:
    """Return an event whose quantity is this text of JSON."""
    return json.dumps(event(data={"tokens": 0})).replace('"tokens": 0', f'"tokens": {number}').encode()


def quoted(seats: Any) -> dict[str, Any]:
    """Return a request for a quote of so many seats."""
    return {"customer": "acme-default", "selection": {"seats": seats}}


def tiered(*bounds: Any, price: str = "0.000004", **changes: Any) -> dict[str, Any]:
    """Return the next version of the price book, its first feature with tiers up to these bounds."""
    tiers = [{"up_to": bound, "unit_amount": price} for bound in bounds]
    first = {**BOOK["features"][0], "tariff": {"model": "graduated", "tiers": tiers}}
    return {**BOOK, "version": 9, "features": [first, *BOOK["features"][1:]], **changes}


REFUSED = (
    BadInput(1, "NaN", "malformed_json", body=counted("NaN")),
    BadInput(2, "Infinity", "malformed_json", body=counted("Infinity")),
    BadInput(3, "1e400", "number_out_of_range", body=counted("1e400")),
    BadInput(4, "-1 quantity", "below_minimum", QUOTES, quoted("-1")),
    BadInput(6, "0.1 + 0.2 as a float", "float_refused", body=counted("0.30000000000000004")),
    BadInput(7, "integer of 10^30", "unsafe_integer", body=counted("1" + "0" * 30)),
    BadInput(8, "40 decimal places", "too_many_decimal_places", QUOTES, quoted("0." + "1" * 40)),
    BadInput(9, 'number as the text "1,5"', "not_a_number", QUOTES, quoted("1,5")),
    BadInput(10, "boolean as a number", "not_a_number", QUOTES, quoted(True)),
    BadInput(11, "null in a required field", "missing_field", body=event(subject=None)),
    BadInput(12, "unknown field", "unknown_field", body=event(surprise=1)),
    BadInput(13, "a JSON key twice", "duplicate_key",
             body=json.dumps(event()).replace("{", '{"id": "a", ', 1).encode()),
    BadInput(14, "JSON nested 10,000 deep", "data_too_deep", body=counted("[" * 10_000 + "]" * 10_000)),
    BadInput(15, "body of 50 MB", "body_too_large", body=b" " * 50_000_000, status=413),
    BadInput(16, "gzip bomb", "unsupported_media_type", body=gzip.compress(bytes(10_000_000)),
             headers={"Content-Encoding": "gzip"}, status=415),
    BadInput(17, "batch of 0", "empty_batch", f"{EVENTS}/batch", []),
    BadInput(18, "batch of 1,000,001", "batch_too_large", f"{EVENTS}/batch", b"[1" + b",1" * 1_000_000 + b"]"),
    BadInput(21, "key used before for another body", "event_conflict",
             body=event(id="known", data={"tokens": "6"}), status=409),
    BadInput(22, "key of 10 kB", "invalid_id", body=event(id="x" * 10_000)),
    BadInput(22, "key with NUL", "invalid_id", body=event(id="a\0b")),
    BadInput(23, "key not in Unicode normal form", "invalid_id", body=event(id="e\u0301")),
    BadInput(25, "lone surrogate", "malformed_json", body=event(id="\ud800")),
    BadInput(25, "invalid UTF-8", "invalid_utf8", body=json.dumps(event()).encode().replace(b'"bad"', b'"\xff"')),
    BadInput(27, "time without zone", "naive_time", body=event(time="2026-03-01T11:00:00")),
    BadInput(28, "year 9999", "time_in_future", body=event(time="9999-12-31T23:59:59Z")),
    BadInput(28, "year 1", "time_too_early", body=event(time="0001-01-01T00:00:00Z")),
    BadInput(29, "ten years ahead", "time_in_future", body=event(time="2036-03-01T11:00:00Z")),
    BadInput(32, "leap second", "leap_second", body=event(time="2016-12-31T23:59:60Z")),
    BadInput(35, "tiers unsorted", "tiers_unsorted", BOOKS, tiered("200", "100", None)),
    BadInput(35, "tiers with one bound twice", "tiers_overlap", BOOKS, tiered("100", "100", None)),
    BadInput(35, "tiers that state where they begin", "unknown_tier_field", BOOKS,
             json.dumps(tiered("100", None)).replace('"up_to": null', '"from": "150", "up_to": null').encode()),
    BadInput(36, "last tier bounded", "last_tier_bounded", BOOKS, tiered("100", "200")),
    BadInput(36, "tier up to 0", "tier_not_positive", BOOKS, tiered("0", None)),
    BadInput(36, "negative price", "negative_price", BOOKS, tiered(None, price="-1")),
    BadInput(36, "discount over 100 %", "percent_above_100", BOOKS,
             tiered(None, size_discounts=[{"features": 2, "percent": "101"}])),
    BadInput(37, "customer in another currency than every price", "not_found", QUOTES,
             {"customer": "euro", "selection": {"seats": "1"}}, status=404),
    BadInput(37, "unknown currency", "unknown_currency", WALLETS, {"id": "w", "currency": "XYZ"}),
    BadInput(37, "JPY with cents", "too_many_decimal_places", f"{WALLETS}/yen/grants",
             {"id": "g", "amount": "1.5", "kind": "promotional"}),
    BadInput(37, "BHD with 4 decimals", "too_many_decimal_places", f"{WALLETS}/dinar/grants",
             {"id": "g", "amount": "1.2345", "kind": "promotional"}),
    BadInput(38, "credit above the invoice", "not_creditable", "/v1/invoices/{invoice}/credit-notes",
             {"reason": "test", "lines": {"1": "999999"}}),
    BadInput(39, "cursor tampered with", "invalid_cursor", "/v1/customers", method="GET", params={"cursor": "AAAA"}),
    BadInput(39, "page of -1", "malformed", "/v1/customers", status=400, method="GET", params={"limit": -1}),
    BadInput(39, "page of 2^63", "malformed", "/v1/customers", status=400, method="GET", params={"limit": 2**63}),
    BadInput(40, "another tenant's id", "unknown_customer", "/v1/customers/acme-other", method="GET", status=404),
    BadInput(40, "customer that is not there", "unknown_customer", QUOTES,
             {"customer": "gone", "selection": {"seats": "1"}}, status=404),
    BadInput(40, "path in an export's name", "invalid_period", "/v1/exports/invoices", method="GET",
             params={"period": "../../etc/passwd"}),
)  # fmt: skip
