"""The canonical form of an event: equal for equal facts, and by the letter of RFC 8785."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from unicodedata import normalize

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from billing.metering.cloud_event import document_of, event_of
from billing.metering.parsing import parse_event

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs", "S", "Cf"]), min_size=1, max_size=20).map(
    lambda text: normalize("NFC", text)
)
json_values = st.recursive(
    st.one_of(texts, st.integers(-(2**53) + 1, 2**53 - 1), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
documents = st.fixed_dictionaries(
    {
        "id": ids,
        "source": ids,
        "type": ids,
        "subject": ids,
        "time": st.datetimes(datetime(2000, 1, 1), datetime(2026, 3, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
            lambda instant: instant.isoformat()
        ),
        "data": st.dictionaries(texts, json_values, max_size=4),
    }
)


@given(document=documents)
def test_the_hash_is_over_the_canonical_json_of_the_attributes(document: dict[str, Any]) -> None:
    event = parse_event(json.dumps(document).encode(), NOW)
    canonical = rfc8785.dumps({**document, "time": event.time_text})
    assert event.body_hash == hashlib.sha256(canonical).digest()
    assert event.data_text.encode() == rfc8785.dumps(document["data"])


@given(document=documents, corrected=ids, cancels=st.booleans())
def test_what_it_corrects_or_cancels_is_under_the_hash(document: dict[str, Any], corrected: str, cancels: bool) -> None:
    """A correction without data is no cancellation."""
    data = {"data": {}} if cancels else {}
    sent = document | data | {"correctsid": corrected, "correctssource": document["source"] + "'", "cancels": cancels}
    event = parse_event(json.dumps(sent).encode(), NOW)
    assert event.body_hash == hashlib.sha256(rfc8785.dumps({**sent, "time": event.time_text})).digest()


@given(document=documents, corrected=ids, indent=st.sampled_from([None, 2]))
def test_how_an_event_is_written_does_not_matter(document: dict[str, Any], corrected: str, indent: int | None) -> None:
    if corrected != document["id"]:
        document = {**document, "correctsid": corrected, "correctssource": document["source"]}
    first = parse_event(json.dumps(document, indent=indent, ensure_ascii=True).encode(), NOW)
    other = dict(reversed(document.items())) | {"specversion": "1.0"}
    assert parse_event(json.dumps(other, ensure_ascii=False).encode(), NOW) == first
    assert parse_event(json.dumps(document_of(first)).encode(), NOW) == first


def test_every_attribute_changes_the_hash() -> None:
    attributes: dict[str, Any] = {
        "source": "s",
        "event_id": "1",
        "event_type": "t",
        "customer": "c",
        "time": "2026-01-01T00:00:00Z",
        "data": {"n": 1},
        "now": NOW,
    }
    changes: list[dict[str, Any]] = [
        {},
        {"source": "s2"},
        {"event_id": "2"},
        {"event_type": "t2"},
        {"customer": "c2"},
        {"time": "2026-01-01T00:00:00.000001Z"},
        {"data": {"n": "1"}},
        {"corrects": ("s", "0")},
        {"corrects": ("s0", "0")},
        {"corrects": ("s", "0"), "cancels": True, "data": {}},
    ]
    hashes = {event_of(**{**attributes, **change}).body_hash for change in changes}
    assert len(hashes) == len(changes)


def test_one_instant_has_one_form_whatever_its_offset() -> None:
    forms = ["2026-03-04T05:06:07Z", "2026-03-04T14:06:07+09:00", "2026-03-04t05:06:07.000z", "2026-03-04 05:06:07Z"]
    events = [
        event_of(source="s", event_id="1", event_type="t", customer="c", time=form, data={}, now=NOW) for form in forms
    ]
    assert {event.time_text for event in events} == {"2026-03-04T05:06:07.000000Z"}
    assert len({event.body_hash for event in events}) == 1
