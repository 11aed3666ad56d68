"""Webhooks in the console: the acts of the API, secrets shown once, what was sent and what came back."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from api.console.webhooks import shown_address
from api.console.wording import catalog
from billing.repositories import webhook_endpoints
from billing.webhooks.endpoints import MAX_ENDPOINTS
from tests.integration.api.door import Door
from tests.integration.console.browsing import Browsing
from tests.integration.console.test_invoice_forms import fields, trail
from tests.integration.webhooks.test_delivery import ENDPOINTS, accept, deliveries, fits, listen
from tests.integration.webhooks.worker import drain
from tests.webhook_receiver import Receiver, receiver

HOME = "/console/webhooks"
WORDS = catalog("en")
SECRET = re.compile(r'id="secret">(whsec_[^<]+)<')


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


@pytest.fixture
def ian(browsing: Browsing) -> Browsing:
    browsing.sign_in("ian")
    return browsing


def kept(door: Door) -> list[dict[str, object]]:
    found: list[dict[str, object]] = door.call("GET", ENDPOINTS).json()["items"]
    return found


def filled(page: str, **typed: str) -> dict[str, str]:
    """Return what the form that adds would send, with some of it typed in."""
    [key] = re.findall(r'name="key" value="([^"]*)"', page)
    return {"key": key, "url": "", "description": "", "which": "all", **typed}


def test_an_endpoint_is_added_once_and_its_secret_shown_once(door: Door, ian: Browsing, there: Receiver) -> None:
    form = filled(ian.get(HOME).text, url=there.url, description="the books", which="some")
    form["type.quote.accepted"] = "1"
    made = ian.post(HOME, form)
    [secret] = SECRET.findall(made.text)
    again = ian.post(HOME, form)
    assert (again.status_code, html.unescape(WORDS["refusal.endpoint_exists"]) in html.unescape(again.text)) == (
        409,
        True,
    )
    [endpoint] = kept(door)
    assert (endpoint["url"], endpoint["event_types"], endpoint["description"]) == (
        there.url, ["quote.accepted"], "the books",
    )  # fmt: skip
    assert trail(door) == [("ian", "webhook_endpoint.add")]
    for page in (ian.get(HOME).text, ian.get(f"{HOME}/{endpoint['id']}").text):
        assert "whsec_" not in page
        assert "the books" in page
    accept(door, "1")
    drain(door.database, door.clock)
    assert fits(there.received[0], secret)


def test_what_cannot_be_an_endpoint_is_refused_as_over_http_beside_what_was_typed(door: Door, ian: Browsing) -> None:
    page = ian.get(HOME).text
    for typed, code in (
        ({"url": "http://10.0.0.1/hook"}, "private_address"),
        ({"url": "ftp://receiver.example/"}, "invalid_url"),
        ({"url": ""}, "invalid_url"),
        ({"url": "https://a.example/", "which": "some"}, "no_event_type"),
        ({"url": "https://a.example/", "which": ""}, "no_event_type"),
        ({"url": "https://a.example/", "key": "mine"}, "invalid_value"),
        ({"url": "https://a.example/", "description": "x" * 201}, "invalid_value"),
    ):
        refused = ian.post(HOME, filled(page, **typed))
        assert (refused.status_code, WORDS[f"refusal.{code}"] in refused.text) == (422, True), typed
        assert 'autofocus aria-describedby="refusal"' in refused.text
        assert f'value="{typed["url"]}"' in refused.text
    assert (kept(door), trail(door)) == ([], [])
    for _ in range(MAX_ENDPOINTS):
        ian.post(HOME, filled(ian.get(HOME).text, url="https://a.example/"))
    assert WORDS["webhooks.most"].format(count=MAX_ENDPOINTS) in ian.get(HOME).text
    assert ian.post(HOME, filled(page, url="https://a.example/")).status_code == 422


def test_no_page_shows_what_may_be_secret_of_an_address(door: Door, ian: Browsing, there: Receiver) -> None:
    url = f"{there.url}?token=AGSDX-very-secret-1234"
    endpoint = door.call("POST", ENDPOINTS, {"url": url, "event_types": ["quote.accepted"]}).json()["id"]
    accept(door, "1")
    drain(door.database, door.clock)
    [delivery] = deliveries(door, endpoint)
    for address in (HOME, f"{HOME}/{endpoint}", f"{HOME}/{endpoint}/deliveries/{delivery['event']}"):
        page = ian.get(address).text
        assert "/\N{HORIZONTAL ELLIPSIS}1234" in page, address
        assert "very-secret" not in page


def test_an_error_that_quotes_the_address_does_not_give_it_away(door: Door, ian: Browsing) -> None:
    """An address that was let in once may be refused by a later server, whose log says which."""
    wanted = {"url": "https://a.example/", "event_types": ["quote.accepted"]}
    endpoint = door.call("POST", ENDPOINTS, wanted).json()["id"]
    with door.database.writing("default") as uow:
        webhook_endpoints.change(uow, endpoint, url="ftp://a.example/hook?token=very-secret-1234")
    accept(door, "1")
    drain(door.database, door.clock)
    [delivery] = deliveries(door, endpoint)
    for address in (f"{HOME}/{endpoint}", f"{HOME}/{endpoint}/deliveries/{delivery['event']}"):
        page = ian.get(address).text
        assert "must begin with" in page
        assert "very-secret" not in page


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example/"),
        ("https://a.example:8443/hook", "https://a.example:8443/\N{HORIZONTAL ELLIPSIS}"),
        ("https://a.example?token=0123456789", "https://a.example/\N{HORIZONTAL ELLIPSIS}6789"),
        ("https://a.example/services/T0/B0/xyz9876", "https://a.example/\N{HORIZONTAL ELLIPSIS}9876"),
        ("http://[::1]:80/a/long/enough/path", "http://[::1]:80/\N{HORIZONTAL ELLIPSIS}path"),
    ],
)
def test_an_address_is_known_by_its_host_and_its_end(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_the_list_says_which_endpoints_fail_and_which_get_what(door: Door, ian: Browsing, there: Receiver) -> None:
    sound = listen(door, there)["id"]
    with receiver() as broken:
        broken.answers = [(503, {}, b"down for repair")] * 20
        failing = listen(door, broken)["id"]
        accept(door, "1")
        drain(door.database, door.clock)
        page = ian.get(HOME).text
        row = {each: page.split(f"{HOME}/{each}")[1].split("</tr>")[0] for each in (sound, failing)}
        assert "2026-03-01 12:00 UTC" in row[sound]
        assert ">active<" in row[sound]
        assert (">failing<" in row[failing], "nothing has arrived since 2026-03-01 12:00 UTC" in row[failing]) == (
            True,
            True,
        )
        assert WORDS["webhooks.never"] in row[failing]
        assert re.findall(r'<td class="figure[^"]*">(\d+)</td>', row[failing]) == ["1", "0"]
        drain(door.database, door.clock, timedelta(days=2))
        ian.sign_in("ian")
        row = {failing: ian.get(HOME).text.split(f"{HOME}/{failing}")[1].split("</tr>")[0]}
        assert re.findall(r'<td class="figure[^"]*">(\d+)</td>', row[failing]) == ["0", "1"]
        one = ian.get(f"{HOME}/{failing}").text
    assert ">given up<" in one
    assert "HTTP 503" in one
    assert '<td class="figure spare">10</td>' in one
    [delivery] = deliveries(door, failing)
    opened = ian.get(f"{HOME}/{failing}/deliveries/{delivery['event']}").text
    assert opened.count("down for repair") == 10
    assert "attempt 10" in opened
    assert "quote.accepted" in opened


def test_one_is_sent_again_and_so_is_what_was_missed(door: Door, ian: Browsing, there: Receiver) -> None:
    endpoint = listen(door, there)["id"]
    home = f"{HOME}/{endpoint}"
    assert WORDS["webhooks.no_deliveries"] in ian.get(home).text
    there.answers = [(503, {}, b"")]
    accept(door, "1")
    drain(door.database, door.clock)
    page = ian.get(home).text
    assert "2026-03-01 12:00 UTC" in page.split('id="deliveries"')[1]
    assert fields(page, f"{endpoint}/replay") == {"missed_since": "2026-03-01T12:00"}
    [delivery] = deliveries(door, endpoint)
    assert ian.post(f"{home}/disable").headers["location"] == home
    sent = ian.post(f"{home}/deliveries/{delivery['event']}/replay")
    assert sent.headers["location"] == f"{home}?queued=1"
    waits = ian.get(sent.headers["location"]).text
    assert WORDS["webhooks.queued"].format(count=1) in waits
    assert WORDS["webhooks.queued_disabled"] in waits
    assert WORDS["webhooks.when_enabled"] in waits
    door.wait(minutes=1)
    accept(door, "2")  # Not queued at all: the endpoint is disabled.
    for wrong, code in (("", "invalid_time"), ("yesterday", "invalid_time"), ("2026-02-30T10:00", "invalid_time")):
        refused = ian.post(f"{home}/replay", {"missed_since": wrong})
        assert (refused.status_code, WORDS[f"refusal.{code}"] in refused.text) == (422, True)
        assert f'value="{wrong}" autofocus aria-describedby="refusal"' in refused.text
    assert ian.post(f"{home}/replay", fields(page, f"{endpoint}/replay")).headers["location"] == f"{home}?queued=2"
    assert ian.post(f"{home}/enable").headers["location"] == home
    assert drain(door.database, door.clock).delivered == 2
    nothing = ian.post(f"{home}/replay", {"missed_since": "2026-03-01T12:00:00"})
    assert WORDS["webhooks.nothing_missed"] in ian.get(nothing.headers["location"]).text
    assert [action for person, action in trail(door) if person == "ian"] == [
        f"webhook_endpoint.{each}" for each in ("disable", "replay", "replay", "enable", "replay")
    ]
    unknown = ian.post(f"{home}/deliveries/evt_none/replay")
    assert (unknown.status_code, WORDS["refusal.unknown_webhook_delivery"] in unknown.text) == (404, True)


def test_a_disabled_endpoint_says_by_whom_and_is_enabled_again(door: Door, ian: Browsing, there: Receiver) -> None:
    endpoint = str(listen(door, there)["id"])
    home = f"{HOME}/{endpoint}"
    assert ian.post(f"{home}/disable").status_code == 303
    assert ian.post(f"{home}/disable").status_code == 303
    page = ian.get(home).text
    assert "disabled by ian" in page
    assert f'action="{home}/disable"' not in page
    ian.client.cookies.set("alacarte_language", "ko", path="/console")
    assert "ian 님이 중지함" in ian.get(home).text
    assert ian.post(f"{home}/enable").status_code == 303
    assert kept(door)[0]["state"] == "active"
    assert trail(door)[1:] == [("ian", "webhook_endpoint.disable"), ("ian", "webhook_endpoint.enable")]


def test_a_new_secret_is_shown_once_and_its_form_makes_no_second_one(
    door: Door, ian: Browsing, there: Receiver
) -> None:
    made = listen(door, there)
    home = f"{HOME}/{made['id']}"
    form = {**fields(ian.get(home).text, "secret"), "old_secret_hours": "24"}
    assert form["generation"] == "1"
    for wrong in ({"old_secret_hours": "1000"}, {"old_secret_hours": ""}, {"generation": "x"}):
        assert ian.post(f"{home}/secret", {**form, **wrong}).status_code == 422
    answer = ian.post(f"{home}/secret", form)
    [newer] = SECRET.findall(answer.text)
    assert "until 2026-03-02 12:00 UTC" in answer.text
    again = ian.post(f"{home}/secret", form)
    assert (again.status_code, WORDS["refusal.secret_replaced"] in again.text) == (409, True)
    page = ian.get(home).text
    assert WORDS["webhooks.rotating"].format(moment="2026-03-02 12:00 UTC") in page
    assert "whsec_" not in page
    accept(door, "1")
    drain(door.database, door.clock)
    assert [fits(there.received[0], secret) for secret in (made["secret"], newer)] == [True, True]
    assert trail(door)[1:] == [("ian", "webhook_endpoint.rotate_secret")]
    ended = {**fields(page, "secret"), "old_secret_hours": "0"}
    assert ian.post(f"{home}/secret", ended).status_code == 200
    assert WORDS["webhooks.rotating"].split("{")[0] not in ian.get(home).text


def test_an_endpoint_is_removed_with_its_log(door: Door, ian: Browsing, there: Receiver) -> None:
    endpoint = listen(door, there)["id"]
    assert ian.post(f"{HOME}/{endpoint}/remove").headers["location"] == HOME
    assert (kept(door), trail(door)[1:]) == ([], [("ian", "webhook_endpoint.delete")])
    for answer in (
        ian.get(f"{HOME}/{endpoint}"),
        ian.post(f"{HOME}/{endpoint}/remove"),
        ian.post(f"{HOME}/{endpoint}/enable"),
    ):
        assert (answer.status_code, WORDS["refusal.unknown_webhook_endpoint"] in answer.text) == (404, True)


def test_earlier_deliveries_are_on_further_pages(door: Door, ian: Browsing, there: Receiver) -> None:
    endpoint = listen(door, there)["id"]
    for number in range(27):
        accept(door, str(number))
    home = f"{HOME}/{endpoint}"
    page = ian.get(home).text
    events = re.findall(rf'<a href="{home}/deliveries/(evt_[^"]+)"', page)
    [following] = re.findall(rf'<a href="{re.escape(home)}\?after=([^"]+)"', page)
    rest = ian.get(f"{home}?after={following}").text
    events += re.findall(rf'<a href="{home}/deliveries/(evt_[^"]+)"', rest)
    assert WORDS["webhooks.earlier"] in rest
    assert len(events) == len(set(events)) == 27
    assert ian.get(f"{home}?after=nonsense").status_code == 422


def test_a_server_that_delivers_nothing_says_so(ian: Browsing) -> None:
    assert WORDS["webhooks.not_delivering"] in ian.get(HOME).text


def test_another_tenants_endpoint_does_not_exist(door: Door, ian: Browsing) -> None:
    token = door.token("key_admin", tenant="other")
    foreign = door.call("POST", ENDPOINTS, {"url": "https://a.example/"}, token=token).json()["id"]
    assert ian.get(f"{HOME}/{foreign}").status_code == 404
    assert foreign not in ian.get(HOME).text
