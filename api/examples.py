"""Examples of the OpenAPI document, by operation: requests that the tests send, and which answer leads where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PLACES: Mapping[str, str] = {
    "quote_id": "019a5b1c-7d2e-7c31-9a44-0d7b1e5f9c20",
    "key": "acme",
    "feature": "seats",
    "subscription": "019a5b1c-8f03-7b5a-8c1e-5a2f4f0e7d11",
    "content_hash": _HASH,
    "other_hash": _HASH,
    "sheet_hash": _HASH,
    "book_key": "gateway",
    "wallet": "main",
    "grant": "order-7",
    "invoice": "INV-2026-000001",
    "line": "1",
    "period": "2026-02",
    "key_id": "5f1c2d3e4b5a6978",
    "endpoint": "we_019a5b1c90",
    "event": "evt_019a5b1c91",
    "version": "1",
    "proposal": "019a5b1c-9c55-7d1e-b0aa-2f64c8a1e013",
    "price_proposal": "019a5b1c-9a11-7f20-b3d4-6e0c1a2b3c4d",
    "credit_note": "CN-2026-000001",
    "hold": "job-17",
    "alert": "tokens-a-day",
    "coupon": "welcome",
}
"""By path parameter: what stands there in the examples."""


class Example(NamedTuple):
    """One request: its body, its query, and the status it is answered with, that of success where none is named."""

    body: Any = None
    query: Mapping[str, str] = {}
    status: int | None = None


_EVENT = {
    "specversion": "1.0",
    "id": "req-1",
    "source": "gateway-eu-1",
    "type": "llm.request",
    "subject": "acme",
    "time": "2026-02-27T09:30:00Z",
    "data": {"tokens": 1280},
}
_BOOK = {
    "key": "storage",
    "version": 1,
    "currency": "EUR",
    "effective_from": "2026-01-01T00:00:00Z",
    "features": [
        {
            "key": "disks",
            "name": "Disks",
            "kind": "quantity",
            "unit_cost": "1.5",
            "tariff": {"model": "unit", "unit_amount": "4.90"},
        }
    ],
}
_DRAFT = {
    **_BOOK,
    "key": "gateway",
    "version": 9,
    "currency": "USD",
    "features": [
        {"key": "seats", "name": "Seats", "kind": "quantity", "tariff": {"model": "unit", "unit_amount": "9"}}
    ],
}
_NOTHING_FITTED = {"where nothing was fitted yet": Example(status=404)}
_SELECTION = {"seats": "5", "sso": True}
_SEALED_ELSEWHERE = {"kind": "quote", "sections": {}}

EXAMPLES: Mapping[str, Mapping[str, Example]] = {
    "PreviewQuote": {
        "seats and single sign-on": Example({"customer": "acme", "selection": _SELECTION}),
        "nothing chosen": Example({"customer": "acme", "selection": {}}, status=422),
    },
    "CreateQuote": {"held for 30 days": Example({"customer": "acme", "selection": _SELECTION, "hold_days": 30})},
    "AcceptQuote": {
        "with a trial": Example({"trial_days": 14}),
        "with a commitment, billed early": Example({"minimum_spend": "100", "thresholds": ["500"]}),
    },
    "VerifyQuote": {
        "no document of ours": Example(
            {"quote": _SEALED_ELSEWHERE, "price_book": _SEALED_ELSEWHERE, "price_sheet": _SEALED_ELSEWHERE}
        )
    },
    "IngestEvent": {"a request of 1280 tokens": Example(_EVENT)},
    "IngestEvents": {"two requests": Example([{**_EVENT, "id": "req-2"}, {**_EVENT, "id": "req-3"}])},
    "AuthorizeUsage": {
        "not subscribed": Example(
            {"id": "job-17", "customer": "acme", "event": {"type": "llm.request", "data": {"tokens": 1280}}},
            status=422,
        )
    },
    "SettleUsage": {"of another customer": Example(_EVENT, status=422)},
    "ExplainEvent": {"one that never came": Example(query={"id": "req-0"}, status=404)},
    "SetUsageAlert": {
        "a limit": Example(
            {"id": "tokens-daily", "meter": "tokens", "threshold": "1000000", "interval": "day", "is_limit": True}
        )
    },
    "SaveCustomer": {
        "of Berlin": Example(
            {
                "legal_entity": "main",
                "legal_name": "ACME GmbH",
                "country": "DE",
                "currency": "USD",
                "zone": "Europe/Berlin",
            }
        )
    },
    "OpenWallet": {
        "topped up by itself": Example({"id": "prepaid", "currency": "USD", "top_up_below": "5", "top_up": "20"})
    },
    "GrantCredit": {
        "a gift": Example({"id": "welcome", "amount": "10", "kind": "promotional"}),
        "paid": Example({"id": "order-7", "amount": "50.25", "processor": "stripe"}),
        "a gift every month, for a year": Example(
            {"id": "monthly", "amount": "10", "kind": "promotional", "every": "month", "times": 12}
        ),
    },
    "WithdrawCredit": {
        "a part of what was bought": Example({"amount": "20.25", "processor": "stripe"}),
        "all of it, but who paid it back": Example({}, status=422),
    },
    "GiveCoupon": {
        "half of the seats, for three months": Example(
            {"key": "half", "percent_off": "50", "duration": "periods", "periods": 3, "features": ["seats"]}
        ),
        "a fixed amount until it is used up": Example(
            {"key": "welcome", "amount_off": "100", "currency": "USD", "carries_rest": True}
        ),
        "both at once": Example({"key": "both", "percent_off": "50", "amount_off": "5", "currency": "USD"}, status=422),
    },
    "EndCoupon": {
        "now": Example({}),
        "at a time that is past": Example({"ends_at": "2020-01-01T00:00:00Z"}, status=422),
    },
    "PreviewSubscriptionChange": {"two more seats": Example({"action": "change", "selection": {"seats": "7"}})},
    "ChangeSubscription": {
        "two more seats": Example({"action": "change", "selection": {"seats": "7"}}),
        "with single sign-on": Example({"action": "change", "selection": {"seats": "7", "sso": True}}),
        "another seat, at its price now": Example({"action": "quantity", "feature": "seats", "quantity": "6"}),
        "by the quarter": Example({"action": "cycle", "interval": "quarter"}),
        "an unknown action": Example({"action": "forget"}, status=400),
    },
    "PublishPriceBook": {"one feature, in euros": Example(_BOOK)},
    "ReadPriceBook": {"as the buyer sees it": Example(query={"level": "buyer"})},
    "CloseMonth": {"with five days of grace": Example({"grace_days": 5})},
    "ReopenMonth": {"usage came late": Example({"reason": "usage came late"})},
    "ListQuotes": {"the open ones of a customer": Example(query={"customer": "acme", "state": "open"})},
    "ListSubscriptions": {"of a customer": Example(query={"customer": "acme"})},
    "ListCreditNotes": {"of a customer": Example(query={"customer": "acme"})},
    "ExportJournal": {"from the beginning": Example(query={"format": "jsonl"})},
    "DraftPriceProposal": {"one feature, in euros": Example({"price_book": _BOOK, "reason": "we sell disks now"})},
    "ReplacePriceProposal": {"the next version": Example({"price_book": {**_BOOK, "version": 2}})},
    "ReturnPriceProposal": {"one's own": Example({"remark": "too dear"}, status=422)},
    "ApprovePriceProposal": {"whatever its revision": Example(status=428)},
    "MoveSandboxClock": {"to a time that is past": Example({"now": "2020-01-01T00:00:00Z"}, status=422)},
    "AdvanceSandboxClock": {"by a minute": Example({"seconds": 60})},
    "VoidInvoice": {"billed twice": Example({"reason": "billed twice"})},
    "CreditInvoice": {"part of a line": Example({"reason": "outage", "lines": {"1": "1.50"}})},
    "PayInvoice": {"by bank transfer": Example({"id": "transfer-4711", "amount": "1.50", "processor": "bank"})},
    "RefundInvoice": {"more than was paid": Example({"amount": "1.50"}, status=422)},
    "ExportInvoices": {"January as CSV": Example(query={"period": "2026-01", "format": "csv"})},
    "VerifyLedger": {"with the books": Example(query={"books": "true"})},
    "CreateApiKey": {"for a checkout": Example({"name": "checkout", "scopes": ["quote", "read"]})},
    "RotateApiKey": {"an hour's overlap": Example({"overlap_hours": 1})},
    "AddWebhookEndpoint": {
        "accepted quotes only": Example({"url": "https://receiver.example/hooks", "event_types": ["quote.accepted"]})
    },
    "RotateWebhookSecret": {"a day's overlap": Example({"old_secret_hours": 24})},
    "ReplayWebhookEvents": {
        "after the last that arrived": Example({"after": PLACES["event"]}),
        "what has not arrived since a time": Example({"missed_since": "2026-03-01T00:00:00Z"}),
        "neither": Example({}, status=422),
    },
    "SimulateDraft": {
        "dearer seats in January": Example({"price_book": _DRAFT, "period": "2026-01", "largest": 10}),
        "with what to expect, before anything was fitted": Example({"price_book": _DRAFT, "demand": True}, status=404),
    },
    "ReadNewestModelCard": _NOTHING_FITTED,
    "ReadModelCard": _NOTHING_FITTED,
    "ProposeEpoch": {"one in twenty held out": Example({"holdout": "0.05", "seed": 7})},
    "StopAdaptivePrices": {"too few accept": Example({"reason": "too few accept"})},
    "ReceiveStripeEvent": {"where Stripe is not set up": Example(status=503)},
}


def examples_of(operation: str) -> Mapping[str, Example]:
    """Return the examples of an operation; one that takes no body needs none written down."""
    return EXAMPLES.get(operation, {"example": Example()})


LINKS: Mapping[str, Mapping[int, Mapping[str, Mapping[str, str]]]] = {
    "CreateQuote": {
        201: {
            "ReadQuote": {"quote_id": "$response.body#/id"},
            "AcceptQuote": {"quote_id": "$response.body#/id"},
            "ReleaseQuote": {"quote_id": "$response.body#/id"},
        }
    },
    "AcceptQuote": {
        200: {
            "ReadSubscription": {"subscription": "$response.body#/subscription"},
            "PreviewSubscriptionChange": {"subscription": "$response.body#/subscription"},
            "ChangeSubscription": {"subscription": "$response.body#/subscription"},
        }
    },
    "DraftPriceProposal": {
        201: {
            name: {"price_proposal": "$response.body#/id"}
            for name in ("ReadPriceProposal", "DiffPriceProposal", "ReplacePriceProposal", "WithdrawPriceProposal")
        }
    },
    "CreateApiKey": {201: {"RevokeApiKey": {"key_id": "$response.body#/id"}}},
}
"""By operation, status and following operation: where its path parameters stand in the answer."""
