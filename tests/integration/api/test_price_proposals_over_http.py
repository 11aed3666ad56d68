"""Price books over HTTP: drafted under ETags by one key, published by another one, alone by a key that may do both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.catalog_file import write_catalog
from pricing_engine.price_book import parse_price_book
from tests.billing_story import repriced
from tests.integration.api.door import Door
from tests.quote_facts import BOOK

PROPOSALS = "/v1/price-proposals"
DEARER = repriced("seats", {"model": "unit", "unit_amount": "11"})
DEAREST = repriced("seats", {"model": "unit", "unit_amount": "12"})


def keys(door: Door) -> tuple[str, str]:
    """Return a key of ann, who sets prices, and one of bob, who approves."""
    return door.token("price_admin", name="ann"), door.token("price_approve", name="bob")


def drafted(door: Door, **body: Any) -> tuple[str, str]:
    """Return the address and the ETag of ann's draft."""
    answer = door.call("POST", PROPOSALS, {"price_book": DEARER, **body}, token=keys(door)[0])
    assert answer.status_code == 201, answer.text
    return f"{PROPOSALS}/{answer.json()['id']}", answer.headers["etag"]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_draft_becomes_the_book_in_force_by_two_keys(door: Door) -> None:
    ann, bob = keys(door)
    door.wait(hours=1)
    draft, etag = drafted(door, reason="costs rose")
    shown = door.call("GET", draft, token=bob)
    assert (shown.headers["etag"], shown.json()["state"], shown.json()["author"]) == (etag, "draft", "ann")
    assert etag == f'"{shown.json()["revision"]}"'
    assert refusal(door.call("POST", f"{draft}/approve", token=bob, if_match=etag)) == (409, "proposal_moved")
    asked = door.call("POST", f"{draft}/ask", token=ann, if_match=etag)
    assert asked.json()["state"] == "asked"

    sent_back = door.call("POST", f"{draft}/return", {"remark": "too dear"}, token=bob, if_match=asked.headers["etag"])
    assert (sent_back.json()["state"], sent_back.json()["remark"]) == ("returned", "too dear")
    text = write_catalog(parse_price_book(DEAREST))
    etag = sent_back.headers["etag"]
    again = door.call("PUT", draft, {"price_book": text, "reason": "costs rose more"}, token=ann, if_match=etag)
    assert (again.json()["state"], again.json()["reason"]) == ("draft", "costs rose more")
    changes = {each["path"]: each for each in door.call("GET", f"{draft}/diff", token=bob).json()["changes"]}
    assert changes["features.seats.tariff.unit_amount"]["after"] == "12"
    assert changes["version"] == {"path": "version", "before": 3, "after": DEAREST["version"]}

    asked = door.call("POST", f"{draft}/ask", token=ann, if_match=again.headers["etag"])
    stale = door.call("POST", f"{draft}/approve", token=bob, if_match=again.headers["etag"])
    assert refusal(stale) == (412, "precondition_failed")
    unread = door.call("POST", f"{draft}/approve", token=bob, if_match="*")
    assert refusal(unread) == (428, "precondition_required")
    published = door.call("POST", f"{draft}/approve", token=bob, if_match=asked.headers["etag"])
    assert published.status_code == 200, published.text
    assert published.json()["version"] == DEAREST["version"]
    last = door.call("GET", "/v1/price-books").json()["items"][-1]
    assert (last["content_hash"], last["actor"], last["approver"]) == (published.json()["content_hash"], "ann", "bob")
    assert door.call("GET", draft, token=bob).json()["decided_by"] == "bob"
    unmoved = door.call("GET", f"{draft}/diff", token=bob).json()["changes"]
    assert {each["path"] for each in unmoved} == set(changes)  # Still what it replaced.


def test_nothing_is_changed_unless_as_it_was_read(door: Door) -> None:
    ann, _ = keys(door)
    draft, etag = drafted(door)
    body = {"price_book": DEAREST}
    for method, address in (("PUT", draft), ("DELETE", draft), ("POST", f"{draft}/ask")):
        sent = body if method == "PUT" else None
        assert refusal(door.call(method, address, sent, token=ann)) == (428, "precondition_required")
        for wrong in ('"nonsense"', f"W/{etag}", etag.strip('"')):
            answer = door.call(method, address, sent, token=ann, if_match=wrong)
            assert refusal(answer) == (412, "precondition_failed"), (method, wrong)
    assert door.call("GET", draft, token=ann).headers["etag"] == etag
    assert door.call("PUT", draft, body, token=ann, if_match=f'"other", {etag}').status_code == 200
    assert refusal(door.call("DELETE", draft, token=ann, if_match=etag)) == (412, "precondition_failed")
    assert door.call("DELETE", draft, token=ann, if_match="*").status_code == 204
    for method in ("GET", "PUT", "DELETE"):
        sent = body if method == "PUT" else None
        assert refusal(door.call(method, draft, sent, token=ann, if_match="*")) == (404, "unknown_proposal")
    assert door.call("GET", PROPOSALS, token=ann).json() == {"items": [], "next_cursor": None}
    trail = [each["action"] for each in door.call("GET", "/v1/audit").json()["items"]]
    assert trail[-3:] == ["price_proposal.draft", "price_proposal.draft", "price_proposal.withdraw"]


def test_of_those_who_replace_what_they_read_at_once_one_succeeds(door: Door) -> None:
    ann, _ = keys(door)
    draft, etag = drafted(door)
    books = [{**BOOK, "version": number} for number in range(10, 16)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda book: door.call("PUT", draft, {"price_book": book}, token=ann, if_match=etag), books)
        )
    assert sorted(each.status_code for each in answers) == [200, 412, 412, 412, 412, 412]
    [won] = [each for each in answers if each.status_code == 200]
    assert door.call("GET", draft, token=ann).json() == won.json()


def test_nobody_approves_what_they_asked_for_nor_publishes_alone(door: Door) -> None:
    both = door.token("price_admin", "price_approve", name="ann")
    draft, etag = drafted(door)
    asked = door.call("POST", f"{draft}/ask", token=both, if_match=etag).headers["etag"]
    for step, body in (("approve", None), ("return", {"remark": "no"})):
        answer = door.call("POST", f"{draft}/{step}", body, token=both, if_match=asked)
        assert refusal(answer) == (422, "second_person_needed")
    stranger = door.token("price_admin", name="eve")
    assert refusal(door.call("DELETE", draft, token=stranger, if_match=asked)) == (422, "not_the_author")

    for scopes in (("price_admin",), ("price_approve",)):
        token = door.token(*scopes)
        assert refusal(door.call("POST", "/v1/price-books", DEARER, token=token)) == (403, "forbidden")
        assert refusal(door.call("POST", "/v1/price-books/gateway/archive", token=token)) == (403, "forbidden")
    assert door.call("POST", "/v1/price-books", DEARER, token=both).status_code == 201
    unknown = door.call("POST", "/v1/price-books/nothing/archive", token=both)
    assert refusal(unknown) == (404, "unknown_price_book")
    assert door.call("POST", "/v1/price-books/gateway/archive", token=both).status_code == 200


def test_what_is_no_price_book_is_refused_where_it_is_wrong(door: Door) -> None:
    ann, _ = keys(door)
    text = write_catalog(parse_price_book(DEARER)).replace("unit_amount: '11'", "unit_amount: '-11'")
    answer = door.call("POST", PROPOSALS, {"price_book": text}, token=ann)
    assert refusal(answer) == (422, "negative_price")
    assert answer.json()["field"].startswith("price_book:")
    tariffs = door.call("POST", PROPOSALS, {"price_book": {**DEARER, "features": "none"}}, token=ann)
    assert tariffs.status_code == 422
    long = door.call("POST", PROPOSALS, {"price_book": DEARER, "reason": "x" * 501}, token=ann)
    assert (long.status_code, long.json()["field"]) == (422, "reason")
    assert door.call("GET", PROPOSALS, token=ann).json()["items"] == []


def test_proposals_come_in_pages_changed_last_first_and_once_under_a_key(door: Door) -> None:
    ann, _ = keys(door)
    ids = []
    for number in range(5):
        body = {"price_book": {**BOOK, "version": 10 + number}}
        made = [door.call("POST", PROPOSALS, body, token=ann, key=f"p{number}") for _ in range(2)]
        assert made[0].json() == made[1].json()
        assert made[0].headers["etag"] == made[1].headers["etag"]
        ids.append(made[0].json()["id"])
        door.wait(seconds=number % 2)  # Some bear one instant.
    seen, cursor = [], None
    while True:
        page = door.call("GET", PROPOSALS, token=ann, limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
