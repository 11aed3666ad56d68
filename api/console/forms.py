"""What browsers send: flat forms, and a selection of features inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litestar.params import URLEncodedBody

from billing.price_proposals import LONGEST_REASON
from models.values.errors import InvalidValueError
from models.values.period import parse_instant
from pricing_engine.catalog import FeatureKind
from pricing_engine.price_book import PriceBook

Form = URLEncodedBody[dict[str, Any]]
_ON, _QUANTITY = "on.", "q."
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)


def text(form: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return one field as text. Raises InvalidValueError where it came twice or holds NUL."""
    value = form.get(name, default)
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidValueError("must be one line of text", field=name)
    return value.strip()


def number_text(form: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return a number as text, without commas between its thousands; any other comma stays, and is refused as one."""
    typed = text(form, name, default)
    return typed.replace(",", "") if _GROUPED.fullmatch(typed) else typed


def short_text(form: Mapping[str, Any], name: str) -> str:
    """Return a reason or a remark. Raises InvalidValueError where it is long."""
    written = text(form, name)
    if len(written) > LONGEST_REASON:
        raise InvalidValueError(f"at most {LONGEST_REASON} characters", field=name, value=len(written))
    return written


def utc_time(form: Mapping[str, Any], name: str) -> datetime:
    """Return a time as `datetime-local` sends it, in UTC. Raises InvalidValueError."""
    typed = text(form, name)
    if found := _LOCAL.fullmatch(typed):
        typed += "Z" if found[1] else ":00Z"
    return parse_instant(typed, name)


def selection_of_form(form: Mapping[str, Any], book: PriceBook) -> dict[str, str | bool]:
    """Return the chosen features: `on.<key>` is checked, `q.<key>` says how many (commas between thousands allowed)."""
    chosen: dict[str, str | bool] = {}
    for feature in book.features:
        if text(form, f"{_ON}{feature.key}"):
            typed = number_text(form, f"{_QUANTITY}{feature.key}")
            chosen[feature.key] = True if feature.kind is FeatureKind.SWITCH else typed or "0"
    return chosen
