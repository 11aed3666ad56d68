"""A sealed quote recomputes offline at every disclosure level, and nothing in it can be changed unnoticed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.values.canonical_json import Record, canonical_bytes
from models.values.errors import InvalidValueError
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.quote_document import QuoteIdentity, quote_sections
from pricing_engine.quoting import CompiledBook, QuoteFacts, QuoteHead, price_quote
from pricing_engine.sealing import Disclosure, Sealed, Section, Signer, disclose, new_signer, open_sealed, seal
from pricing_engine.selection import selection_of
from pricing_engine.verification import Verdict, verify_quote
from tests.quote_facts import AT, SIGNER, WHOLE, SealedQuote, jittered_sheet, price_book, sealed_quote

VECTORS = Path(__file__).parents[2] / "vectors"


def verify(case: SealedQuote, level: Disclosure = Disclosure.AUDITOR, **changed: Any) -> Verdict:
    documents = {"quote": case.quote, "book": case.sealed_book, "sheet": case.sealed_sheet} | changed
    shown = {name: disclose(document, level) for name, document in documents.items()}
    return verify_quote(shown["quote"], shown["book"], shown["sheet"], SIGNER.public_pem)


@pytest.mark.parametrize("level", list(Disclosure))
def test_a_quote_recomputes_at_every_disclosure_level(level: Disclosure) -> None:
    case = sealed_quote({"tokens": "2500000", "cache": True, "seats": "12"})
    verdict = verify(case, level)
    assert verdict.verified, verdict.findings
    assert verdict.lines == ("tokens", "cache", "seats")
    assert verdict.undisclosed == ()


def test_redacted_copies_have_the_same_hash_and_no_cost() -> None:
    case = sealed_quote(WHOLE)
    for document in (case.quote, case.sealed_book):
        buyer = disclose(document, Disclosure.BUYER)
        assert buyer["hash"] == document["hash"]
        assert "unit_cost" not in json.dumps(buyer)
    assert "propensity" not in json.dumps(disclose(case.quote, Disclosure.TRANSPARENT)["sections"]["lines/seats"])


def test_a_line_at_its_cost_floor_recomputes_only_where_costs_are_shown() -> None:
    """sso costs 38 of its 40: the bundle's 20 percent would take it below."""
    case = sealed_quote(WHOLE)
    assert "cost_floor" in next(line.rails for line in case.priced.lines if line.feature == "sso")
    assert verify(case, Disclosure.TRANSPARENT).undisclosed == ()
    buyer = verify(case, Disclosure.BUYER)
    assert buyer.verified
    assert buyer.undisclosed == ("sso",)


def _digits(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _digits(value, (*path, key))
    if isinstance(node, str) and any(char.isdigit() for char in node):
        yield path


def _with_one_digit_changed(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    node = changed
    for step in path[:-1]:
        node = node[step]
    text = node[path[-1]]
    at = next(i for i, char in enumerate(text) if char.isdigit())
    node[path[-1]] = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    return changed


def test_any_changed_digit_anywhere_fails() -> None:
    case = sealed_quote(WHOLE)
    tried = 0
    for name, document in (("quote", case.quote), ("book", case.sealed_book), ("sheet", case.sealed_sheet)):
        for path in _digits(document):
            if path == ("kind",):
                continue
            verdict = verify_quote(
                *(
                    {"quote": case.quote, "book": case.sealed_book, "sheet": case.sealed_sheet}
                    | {name: _with_one_digit_changed(document, path)}
                ).values(),
                SIGNER.public_pem,
            )
            assert not verdict.verified, (name, path)
            tried += 1
    assert tried > 100


def forged(case: SealedQuote, path: str, **changed: str) -> dict[str, Any]:
    """Sign the quote with one section changed."""
    sections = [
        Section(each, Disclosure(section["level"]), section["content"] | (changed if each == path else {}))
        for each, section in case.quote["sections"].items()
    ]
    return seal(case.quote["kind"], sections, b"s" * 32, SIGNER)


def test_a_wrong_line_under_a_valid_seal_is_named() -> None:
    """The seller itself signs a wrong amount: the hash holds, recomputing does not."""
    case = sealed_quote(WHOLE)
    verdict = verify(case, quote=forged(case, "lines/tokens", amount="1.23"))
    assert [finding.where for finding in verdict.findings] == ["lines.tokens.amount"]


def test_a_wrong_total_is_found_also_where_a_hidden_floor_bounds_a_line() -> None:
    case = sealed_quote(WHOLE)
    for level in Disclosure:
        verdict = verify(case, level, quote=forged(case, "quote", total="1.23"))
        assert [finding.where for finding in verdict.findings] == ["quote.total"]


def test_another_book_another_key_and_no_signature_are_findings() -> None:
    case = sealed_quote(WHOLE)
    other = sealed_quote(WHOLE, book=price_book(version=4))
    assert [f.where for f in verify(case, book=other.sealed_book).findings] == ["quote.price_book"]
    assert [f.where for f in verify(case, sheet=other.sealed_sheet).findings] == ["quote.price_sheet"]
    assert [f.where for f in verify(case, book=case.sealed_sheet).findings] == ["price_book.kind"]
    strange = verify_quote(case.quote, case.sealed_book, case.sealed_sheet, new_signer().public_pem)
    assert strange.findings[0].where == "quote.signature.key_id"
    unsigned = {name: value for name, value in case.quote.items() if name != "signature"}
    assert (
        verify_quote(unsigned, case.sealed_book, case.sealed_sheet, SIGNER.public_pem).findings[0].where
        == "quote.signature"
    )


def test_a_term_that_was_not_in_force_is_a_finding() -> None:
    """Signed and recomputed right, but nobody had agreed to it for that time."""
    term = NegotiatedTerm(
        "tokens", "launch", "ann", AT - timedelta(days=2), AT + timedelta(days=1), percent=Decimal(15)
    )
    assert verify(sealed_quote(WHOLE, terms={"tokens": term})).verified
    for starts_at, ends_at in ((AT + timedelta(seconds=1), None), (AT - timedelta(days=2), AT)):
        other = msgspec.structs.replace(term, starts_at=starts_at, ends_at=ends_at)
        verdict = verify(sealed_quote(WHOLE, terms={"tokens": other}))
        assert [finding.where for finding in verdict.findings] == ["lines.tokens.term"]


def test_an_edited_line_is_named_beside_the_broken_hash() -> None:
    case = sealed_quote(WHOLE)
    path = ("sections", "lines/seats", "content", "amount")
    verdict = verify(case, quote=_with_one_digit_changed(case.quote, path))
    assert [finding.where for finding in verdict.findings] == ["quote.hash", "lines.seats.amount"]


def test_a_hidden_cost_cannot_be_guessed_from_its_leaf() -> None:
    """Two documents with the same content and other salts have no leaf in common."""
    sections = [Section("a", Disclosure.AUDITOR, {"cost": "1"})]
    one, two = (disclose(seal("k", sections, salt * 16), Disclosure.BUYER) for salt in (b"x", b"y"))
    assert one["sections"]["a"] != two["sections"]["a"]
    assert open_sealed(one, "k").hidden == {"a"}


def test_the_same_facts_seal_to_the_same_bytes() -> None:
    assert sealed_quote(WHOLE).quote == sealed_quote(WHOLE).quote


def test_published_vectors_still_verify() -> None:
    """Other implementations check themselves against these files, so the format must not drift."""
    for folder in sorted(path for path in VECTORS.iterdir() if path.is_dir()):
        documents = [json.loads((folder / f"{name}.json").read_text()) for name in ("quote", "book", "sheet")]
        verdict = verify_quote(*documents, (folder / "public.pem").read_bytes())
        expected = json.loads((folder / "expected.json").read_text())
        assert verdict.verified is expected["verified"], folder.name
        assert [finding.where for finding in verdict.findings] == expected["findings"], folder.name
    vectors = {path.name for path in VECTORS.iterdir() if path.is_dir()}
    assert {"auditor", "buyer", "customer-transparent", "one-digit-changed"} <= vectors


def test_a_vector_is_what_these_facts_seal_to() -> None:
    assert json.loads((VECTORS / "auditor" / "quote.json").read_text()) == sealed_quote(WHOLE).quote


def test_a_signer_refuses_other_keys() -> None:
    with pytest.raises(InvalidValueError, match="signing_key"):
        Signer.from_pem(b"not a key")


def _sections(selection: dict[str, Any], reason: str) -> list[Section]:
    book = price_book()
    term = NegotiatedTerm(feature="tokens", reason=reason, approver="ann", starts_at=AT, percent=Decimal(15))
    sheet = jittered_sheet("0" * 64)
    priced = price_quote(CompiledBook(book), QuoteFacts(sheet, selection_of(selection, book), terms={"tokens": term}))
    head = QuoteHead("q", "default", "acme", "default", "direct", AT, AT + timedelta(days=1))
    return quote_sections(QuoteIdentity(head, "0" * 64, "0" * 64, sheet.model_hash, book.money), priced)


@pytest.mark.parametrize("level", list(Disclosure))
def test_a_copy_written_from_its_parts_is_the_disclosed_document(level: Disclosure) -> None:
    """Contents with usage, an adaptive price and a negotiated term included: their fields are optional."""
    sections = [
        *_sections({"tokens": {"units": "5"}, "seats": "12"}, "the launch, \N{SNOWMAN}"),
        Section("note", Disclosure.TRANSPARENT, {"b": ["é", {"z": None, "ü": True}], "a": 1}),
    ]
    written = Sealed("kind", sections, b"s" * 16, SIGNER).text(level)
    assert written == canonical_bytes(disclose(seal("kind", sections, b"s" * 16, SIGNER), level))


class _Note(Record, frozen=True):
    text: str


def test_text_that_is_no_unicode_is_not_sealed() -> None:
    for content in (_Note("\ud800"), {"text": "\ud800"}):
        with pytest.raises(InvalidValueError, match="surrogate"):
            Sealed("kind", [Section("note", Disclosure.BUYER, content)], b"s" * 16)
