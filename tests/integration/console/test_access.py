"""Who gets into the console, and with which role through which door."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from litestar.handlers import HTTPRouteHandler

from api.console.wording import LANGUAGES, SAID_WHOLE, catalog
from billing import audit
from billing.people import FREE_FAILURES, disable_person, set_password, set_roles
from models.values.errors import InvalidValueError, NotFoundError
from tests.integration.api.door import Door
from tests.integration.console.browsing import PASSWORD, Browsing

EVERYBODY = {
    "/console/sign-in",
    "/console/preferences",
    "/console/{wanted:path}",
    "/console/customer/{token:str}",
    "/console/customer/{token:str}/invoices/{invoice:str}",
    "/console/customer/{token:str}/credit-notes/{note:str}",
}
"""Pages without a person, written by hand: a new route that needs nobody fails the test."""
ANYBODY = {"/console", "/console/sign-out"}
ROLES = {
    "/console/product": {"product", "approver"},
    "/console/checkout": {"product"},
    "/console/finance": {"finance"},
    "/console/webhooks": {"integrator"},
}
"""By the beginning of the address; the longest one counts."""
ONLY = {
    "product": (
        "GET /console/product/prices/new",
        "POST /console/product/prices",
        "GET /console/product/prices/{proposal:str}/edit",
        "POST /console/product/prices/{proposal:str}",
        "POST /console/product/prices/{proposal:str}/ask",
        "POST /console/product/prices/{proposal:str}/withdraw",
    ),
    "refund": ("POST /console/finance/invoices/{invoice:str}/refunds",),
    "approver": (
        "POST /console/product/demand/publish",
        "POST /console/product/prices/{proposal:str}/approve",
        "POST /console/product/prices/{proposal:str}/return",
    ),
}
"""Routes that open to fewer."""
PEOPLE = {
    "bob": {"approver"},
    "eve": {"finance"},
    "ian": {"integrator"},
    "ron": {"finance", "refund"},
    "pia": {"product"},
}
PLACES = {
    "customer": "nobody",
    "proposal": "none",
    "quote_id": "none",
    "invoice": "none",
    "note": "none",
    "line": "1",
    "endpoint": "none",
    "event": "none",
    "period": "2026-99",
    "what": "invoices",
    "form": "csv",
}


def routes(door: Door) -> Iterator[tuple[str, str]]:
    for route in door.client.app.routes:
        if not route.path.startswith("/console") or route.path.startswith("/console/static"):
            continue
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                    yield str(method), route.path


def filled(path: str) -> str:
    for name, value in PLACES.items():
        for kind in ("str", "int"):
            path = path.replace("{" + f"{name}:{kind}" + "}", value)
    assert "{" not in path, path
    return path


def wanted_roles(method: str, path: str) -> set[str]:
    for role, routes_of_role in ONLY.items():
        if f"{method} {path}" in routes_of_role:
            return {role}
    found = [prefix for prefix in ROLES if path == prefix or path.startswith(f"{prefix}/")]
    assert found, f"{path} has no expected roles"
    return ROLES[max(found, key=len)]


def test_every_page_opens_to_its_roles_and_to_nobody_else(door: Door) -> None:
    seen = 0
    pages = [each for each in routes(door) if each[1] not in EVERYBODY]
    browsing = Browsing(door)
    for method, path in pages:
        if method != "GET":
            answer = browsing.post(filled(path))
            assert (answer.status_code, "sign_in_needed" in answer.text) == (403, True), (method, path)
            continue
        answer = browsing.get(filled(path))
        assert answer.status_code == 303, (method, path)
        assert answer.headers["location"].startswith("/console/sign-in?next="), (method, path)
    for person, roles in PEOPLE.items():
        browsing = Browsing(door)
        assert browsing.sign_in(person).headers["location"] == "/console"
        for method, path in pages:
            if path in ANYBODY:
                continue
            answer = browsing.get(filled(path)) if method == "GET" else browsing.post(filled(path))
            opens = not roles.isdisjoint(wanted_roles(method, path))
            assert (answer.status_code == 403) != opens, (person, method, path, answer.status_code)
            assert answer.status_code < 500, (person, method, path, answer.text)
            seen += 1
    assert seen >= 15


def test_other_roles_count_at_once_and_refunds_need_finance_beside_them(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    assert browsing.get("/console/product").status_code == 403
    with door.database.writing("default") as uow:
        set_roles(uow, "eve", ["product"])
    assert [browsing.get(f"/console/{each}").status_code for each in ("product", "finance")] == [200, 403]
    for roles in (["refund"], ["refund", "product"], [], ["king"]):
        with pytest.raises(InvalidValueError), door.database.writing("default") as uow:
            set_roles(uow, "eve", roles)
    with pytest.raises(NotFoundError), door.database.writing("default") as uow:
        set_roles(uow, "nobody", ["product"])


def test_a_form_without_its_token_changes_nothing(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("ann")
    for method, path in routes(door):
        if method != "POST":
            continue
        assert browsing.client.post(filled(path), data={"name": "x"}, follow_redirects=False).status_code == 403, path
        foreign = browsing.post(filled(path), token="0" * 128)
        assert foreign.status_code == 403, path
    assert browsing.get("/console/product").status_code == 200


def test_a_page_lets_nothing_in_from_elsewhere(browsing: Browsing) -> None:
    browsing.sign_in("ann")
    page = browsing.get("/console/product")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert " style=" not in page.text
    assert "<script>" not in page.text
    assert "http://" not in page.text.replace("http://testserver", "")
    assert "https://" not in page.text


def test_signing_in_leads_nowhere_else(browsing: Browsing) -> None:
    for address in ("//evil.example", "https://evil.example", "/\\evil.example", "/console\r\nx: y", "/v1"):
        answer = browsing.post("/console/sign-in", {"name": "ann", "password": PASSWORD, "next": address})
        assert answer.headers["location"] == "/console", address


def test_the_session_cookie_is_out_of_reach_of_scripts_and_worthless_after_signing_out(browsing: Browsing) -> None:
    answer = browsing.sign_in("ann")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    token = browsing.client.cookies["alacarte_session"]
    browsing.post("/console/sign-out")
    browsing.client.cookies.set("alacarte_session", token, path="/console")
    assert browsing.get("/console/product").status_code == 303


def test_a_session_ends_by_itself(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("ann")
    door.wait(hours=11)
    assert browsing.get("/console/product").status_code == 200
    door.wait(hours=2)
    assert browsing.get("/console/product").status_code == 303


def test_a_form_that_is_sent_after_the_session_is_over_is_sent_again_by_reloading(
    door: Door, browsing: Browsing
) -> None:
    """Whoever was led to the sign-in from it had lost what they typed."""
    browsing.sign_in("ann")
    form = browsing.get("/console/product/prices/new").text
    [token] = set(re.findall(r'name="_csrf_token" value="([^"]*)"', form))
    fields = {"reason": "spring", "document": "key: typed for an hour"}
    door.wait(hours=13)
    for language, words in (("en", "then reload this page"), ("ko", "이 페이지를 새로 고치면")):
        browsing.client.cookies.set("alacarte_language", language, path="/console")
        answer = browsing.post("/console/product/prices", fields, token=token)
        assert (answer.status_code, words in answer.text) == (403, True)
        assert 'href="/console/sign-in" target="_blank"' in answer.text
    browsing.sign_in("ann")
    answer = browsing.post("/console/product/prices", fields, token=token)
    assert answer.status_code == 422
    assert "key: typed for an hour" in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_by_words_alone_has_them(language: str) -> None:
    assert {code for code in SAID_WHOLE if f"refusal.{code}" not in catalog(language)} == set()


def test_a_refusal_is_said_in_the_language_of_its_page(browsing: Browsing) -> None:
    browsing.sign_in("eve")
    browsing.client.cookies.set("alacarte_language", "ko", path="/console")
    for address, shown in (
        ("finance/invoices/none", "invoice: none"),
        ("finance/months/2026-13", "period: 2026-13"),
        ("product", "role: product / approver"),
        ("nothing", ""),
    ):
        text = browsing.get(f"/console/{address}").text
        english = re.findall(r'<p class="hint" lang="en">(.*?)</p>', text)
        assert english == ([shown] if shown else []), address
    refused = browsing.post("/console/finance/reconciliation", token="0" * 128).text
    assert "양식이 오래되었습니다" in refused
    assert 'lang="en">CSRF' not in refused


def test_a_disabled_person_and_an_old_password_are_out_at_once(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("ann")
    with door.database.writing("default") as uow:
        set_password(uow, "ann", "another horse battery", b"fedcba9876543210")
    assert browsing.get("/console/product").status_code == 303
    assert browsing.sign_in("ann").status_code == 403
    assert browsing.sign_in("ann", "another horse battery").status_code == 303
    with door.database.writing("default") as uow:
        disable_person(uow, "ann", door.clock[0])
    assert browsing.get("/console/product").status_code == 303
    assert browsing.sign_in("ann", "another horse battery").status_code == 403


def test_guessing_has_to_wait_and_a_right_password_ends_the_wait(door: Door, browsing: Browsing) -> None:
    for _ in range(FREE_FAILURES + 3):
        assert browsing.sign_in("ann", "wrong horse battery").status_code == 403
    assert browsing.sign_in("ann").status_code == 403
    door.wait(minutes=16)
    assert browsing.sign_in("ann").status_code == 303
    with door.database.reading("default") as uow:
        entries = [entry for entry in audit.entries(uow) if entry.action == "person.sign_in"]
    assert [entry.actor for entry in entries] == ["ann"]


def test_a_stranger_is_told_nothing(browsing: Browsing) -> None:
    for name in ("nobody", "", "ANN", "a" * 500):
        answer = browsing.sign_in(name)
        assert answer.status_code == 403
        assert "Name or password is wrong" in answer.text
    assert browsing.sign_in("x\x00y").status_code == 422


def test_what_is_not_there_is_a_page_too(browsing: Browsing) -> None:
    browsing.sign_in("ann")
    invoice = "/console/finance/invoices/in_1"
    register = "/console/finance/downloads/nothing/2026-01/csv"
    for address in ("/console/nothing/here", f"{invoice}/nothing", f"{invoice}/lines/first", register):
        answer = browsing.get(address)
        assert answer.status_code == 404, address
        assert "There is nothing here" in answer.text, address
        [token] = set(re.findall(r'name="_csrf_token" value="([^"]*)"', answer.text))
        assert browsing.post("/console/preferences", {"theme": "dark"}, token=token).status_code == 303, address
    answer = browsing.client.put(invoice)
    assert answer.status_code == 405
    assert "<code>method_not_allowed</code>" in answer.text


def test_a_page_is_asked_for_by_its_head_alone(browsing: Browsing) -> None:
    browsing.sign_in("ann")
    for address in (
        "/",
        "/console",
        "/console/sign-in",
        "/console/product/prices",
        "/console/finance",
        "/console/none",
    ):
        whole = browsing.get(address)
        head = browsing.client.head(address, follow_redirects=False)
        assert (head.status_code, head.content) == (whole.status_code, b""), address
        assert head.headers["content-type"] == whole.headers["content-type"]


def test_what_no_database_takes_as_text_is_refused_before_one_is_asked(browsing: Browsing) -> None:
    browsing.sign_in("ann")
    for address in ("checkout?customer=%00", "finance/invoices/a%00", "finance/events?id=%00", "product?x=1&x=2"):
        answer = browsing.get(f"/console/{address}")
        assert (answer.status_code, "<code>malformed</code>" in answer.text) == (400, True), address


def test_the_last_month_there_is_is_refused_as_a_page(browsing: Browsing) -> None:
    browsing.sign_in("eve")
    answer = browsing.get("/console/finance/months/9999-12")
    assert (answer.status_code, "invalid_period" in answer.text) == (422, True)
