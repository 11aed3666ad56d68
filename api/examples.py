"""Examples of the OpenAPI document, by operation: request bodies that the tests send, and which answer leads where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, Mapping[str, Any]] = {}

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
    "CreateApiKey": {201: {"RevokeApiKey": {"key_id": "$response.body#/id"}}},
}
"""By operation, status and following operation: where its path parameters stand in the answer."""
