"""The console's words: one catalog a language, every text of every page in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter

from models.values.errors import SHOWN_VALUE_CHARS, DomainError

LANGUAGES = {"en": "English", "ko": "한국어"}
DEFAULT_LANGUAGE = "en"
_HOME = Path(__file__).resolve().parent / "words"
parsed = Formatter().parse

SAID_WHOLE = frozenset(
    {
        "accept_key_reused",
        "already_archived",
        "busy",
        "closed",
        "credit_key_reused",
        "endpoint_exists",
        "forbidden",
        "invalid_period",
        "method_not_allowed",
        "not_found",
        "not_the_author",
        "proposal_moved",
        "quote_expired",
        "quote_resolved",
        "reason_needed",
        "refund_key_reused",
        "secret_replaced",
        "settlement_conflict",
        "stale_form",
        "unanswered",
        "unknown_credit_note",
        "unknown_customer",
        "unknown_event",
        "unknown_invoice",
        "unknown_proposal",
        "unknown_quote",
        "unknown_subscription",
        "unknown_webhook_delivery",
        "unknown_webhook_endpoint",
        "unknown_webhook_event",
        "write_conflict",
    }
)
"""Codes whose words leave nothing of the engine's English to be said but what it is about."""


@dataclass(frozen=True, slots=True)
class Words:
    """One language. Calling it with a key gives its text, with `{names}` filled in."""

    language: str

    def __call__(self, key: str, **values: object) -> str:
        """Return the text under `key`. Raises KeyError: a page that asks for a word nobody wrote is wrong."""
        text = catalog(self.language)[key]
        return text.format(**values) if values else text

    def of(self, group: str, name: str, **values: object) -> str:
        """Return the text under `group.name`, or the name itself where it is an identifier nobody has worded."""
        text = catalog(self.language).get(f"{group}.{name}", name)
        return text.format(**values) if values else text

    def said(self, group: str, sentence: str) -> str:
        """Return an English sentence of the engine, worded where `group` has its form, with what is filled in there."""
        for key, form in _forms(group):
            if found := form.fullmatch(sentence):
                return self(key, **found.groupdict())
        return sentence


def detail(refusal: DomainError) -> str:
    """Return what is to be read beneath the words of a refusal: its English, or what it is about where they say all."""
    if refusal.code not in SAID_WHOLE:
        return str(refusal)
    return "" if refusal.value is None else f"{refusal.field}: {str(refusal.value)[:SHOWN_VALUE_CHARS]}"


@cache
def _forms(group: str) -> list[tuple[str, re.Pattern[str]]]:
    """Return the English texts of a group by key, as what recognises them."""
    found = []
    for key, text in catalog(DEFAULT_LANGUAGE).items():
        if key.startswith(f"{group}."):
            parts = (f"{re.escape(said)}(?P<{name}>.+)" if name else re.escape(said) for said, name, *_ in parsed(text))
            found.append((key, re.compile("".join(parts), re.DOTALL)))
    return found


@cache
def catalog(language: str) -> dict[str, str]:
    """Return every text of a language by key."""
    texts: dict[str, str] = json.loads((_HOME / f"{language}.json").read_text("utf-8"))
    return texts


def best_language(chosen: str | None, accepted: str) -> str:
    """Return the language a reader chose, or else the first of an Accept-Language header that we speak."""
    if chosen in LANGUAGES:
        return chosen
    offered = (part.partition(";")[0].strip().lower().partition("-")[0] for part in accepted.split(","))
    return next((language for language in offered if language in LANGUAGES), DEFAULT_LANGUAGE)
