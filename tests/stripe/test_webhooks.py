"""Webhooks over HTTP: whatever order, repetition or delay they come in, the books end the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from litestar import Litestar
from litestar.datastructures import State

from api.controllers.stripe_events import StripeEventController
from api.problems import domain_error
from api.settings import Settings
from billing.collection import Closing, CollectionMethod, DisputePhase
from billing.database import Database
from billing.stripe.settings import StripeSettings
from billing.stripe.status import CollectionStatus
from billing.stripe.webhooks import accept_webhook
from models.values.errors import DomainError, InvalidValueError
from tests.stripe.bridge import Bridge, Listener, an_invoice, settings_for
from tests.stripe_twin import invoices, payments
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.form import Params
from tests.stripe_twin.server import serving
from tests.stripe_twin.twin import Twin
from tests.stripe_twin.webhooks import deliver, signed

OLD, NEW = "whsec_old", "whsec_new"
_HOUR = 3_600
Deliver = Callable[..., list[int]]


class _Current:
    """The API's services over whichever bridge the test uses."""

    def __init__(self, bridges: list[Bridge]) -> None:
        self._bridges = bridges

    @property
    def database(self) -> Database:
        return self._bridges[-1].database

    @property
    def stripe(self) -> StripeSettings:
        return self._bridges[-1].settings

    @property
    def settings(self) -> Settings:
        return Settings("", Path(), self._bridges[-1].tenant)

    def system_now(self) -> datetime:
        return self._bridges[-1].clock.now()


@pytest.fixture(scope="module")
def endpoint_server() -> Iterator[tuple[list[Bridge], str]]:
    """The API's own endpoint on a socket of its own."""
    bridges: list[Bridge] = []
    app = Litestar(
        [StripeEventController],
        exception_handlers={DomainError: domain_error},
        state=State({"services": _Current(bridges)}),
        openapi_config=None,
        logging_config=None,
    )
    with serving(app) as url:
        yield bridges, f"{url}/v1/stripe/events"


@pytest.fixture
def story(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """Five invoices whose fates the provider alone knows."""
    twin.account.card_on_file = "pm_card_visa"
    bridge = Bridge(database, clock, replace(settings_for(twin_url), webhook_secrets=(NEW, OLD)))
    sent = CollectionMethod.SEND
    bridge.enqueue(*(an_invoice(each, amounts=(each * 1_000,), method=sent) for each in range(1, 6)))
    bridge.drain()
    return bridge


@pytest.fixture
def to_endpoint(story: Bridge, endpoint_server: tuple[list[Bridge], str]) -> Deliver:
    bridges, url = endpoint_server
    bridges[:] = [story]

    def send(events: list[dict[str, Any]], secrets: tuple[str, ...] = (NEW,), late: int = 0) -> list[int]:
        return deliver(url, events, secrets, int(story.clock.now().timestamp()) - late)

    return send


def _fates(bridge: Bridge, twin: Twin) -> None:
    """1 paid, 2 paid in two parts, 3 paid and partly refunded by hand, 4 paid and lost to a dispute, 5 voided."""
    account = twin.account
    remote = {row: account.objects[str(bridge.row(f"inv-{row}").stripe_id)] for row in range(1, 6)}
    card = account.objects[account.by_kind["payment_method"][0]]
    customer = account.all("customer")[0]
    intents = {}
    for row, amount in [(1, 1_000), (2, 1_500), (3, 3_000), (4, 4_000), (2, 500)]:
        intents[row] = payments.charge_customer(account, customer, amount, "usd", card)
        invoices.settle(account, remote[row], intents[row], is_default=False)
    payments.refund(account, intents[3], 700, {})
    dispute = payments.open_dispute(account, intents[4]["id"], 4_000)
    payments.close_dispute(account, dispute["id"], "lost")
    invoices.void(account, Params({}), remote[5]["id"])


def _ended_right(bridge: Bridge) -> None:
    listener = bridge.listener
    assert listener.paid() == {"inv-1": 1_000, "inv-2": 2_000, "inv-3": 3_000, "inv-4": 4_000}
    assert {row: bridge.row(f"inv-{row}").status for row in range(1, 6)} == {
        **dict.fromkeys(range(1, 5), CollectionStatus.PAID),
        5: CollectionStatus.VOID,
    }
    assert len({event.reference for event in listener.events}) == len(listener.events), "something was told twice"
    assert [event.amount_minor for event in listener.events if type(event).__name__ == "Refunded"] == [700]
    phases = [event.phase for event in listener.events if type(event).__name__ == "Disputed"]
    assert phases == [DisputePhase.OPENED, DisputePhase.LOST]
    endings = [event.closing for event in listener.events if type(event).__name__ == "CollectionEnded"]
    assert endings == [Closing.VOID]
    assert all(bridge.row(f"inv-{row}").needs_review is None for row in range(1, 6))


def test_duplicated_shuffled_and_late_events_end_in_the_same_books(
    story: Bridge, twin: Twin, to_endpoint: Deliver
) -> None:
    _fates(story, twin)
    events = [event for event in twin.account.events for _ in range(2)]
    Random(5).shuffle(events)
    third = len(events) // 3
    assert set(to_endpoint(events[:third])) == {200}
    story.read_events()
    story.clock.advance(_HOUR)
    assert set(to_endpoint(events[third:])) == {200}
    story.read_events()
    _ended_right(story)
    assert set(to_endpoint(events)) == {200}
    assert story.read_events() == 0, "an event known already is not read again"
    _ended_right(story)


@pytest.mark.parametrize("seed", range(3))
def test_events_that_arrive_while_things_happen_end_in_the_same_books(
    embedded: Database, twin: Twin, twin_url: str, clock: MovableClock, endpoint_server: Any, seed: int
) -> None:
    """Each step of the provider is followed by some of the events so far, read at once or later."""
    random = Random(seed)
    twin.account.card_on_file = "pm_card_visa"
    bridge = Bridge(embedded, clock, replace(settings_for(twin_url), webhook_secrets=(NEW,)))
    endpoint_server[0][:] = [bridge]
    backlog: list[dict[str, Any]] = []

    def happened(event: dict[str, Any]) -> None:
        backlog.append(event)

    twin.account.on_event.append(happened)
    sent = CollectionMethod.SEND
    bridge.enqueue(*(an_invoice(each, amounts=(each * 1_000,), method=sent) for each in range(1, 6)))
    bridge.drain()
    _fates(bridge, twin)
    random.shuffle(backlog)
    while backlog:
        batch = [backlog.pop() for _ in range(min(len(backlog), random.randint(1, 12)))]
        assert set(deliver(endpoint_server[1], batch, (NEW,), int(clock.now().timestamp()))) == {200}
        if random.random() < 0.5:
            bridge.read_events()
    bridge.read_events()
    _ended_right(bridge)


def test_only_bad_signatures_are_refused(story: Bridge, twin: Twin, to_endpoint: Deliver) -> None:
    event = twin.account.events[:1]
    assert to_endpoint(event, ("whsec_nobody",)) == [400]
    assert to_endpoint(event, (NEW,), late=301) == [400]
    assert to_endpoint(event, (NEW,), late=-301) == [400]
    assert to_endpoint(event, (OLD,)) == [200]
    assert to_endpoint(event, ("whsec_next", NEW)) == [200]
    assert to_endpoint(event, (NEW,), late=299) == [200]


@pytest.mark.parametrize(
    "header",
    ["", "t=1", "v1=abc", "t=x,v1=abc", "t=1,t=1,v1=abc", "t=99999999999999999999,v1=ab", "t=1,v1=ä", "t=²,v1=a"],
)
def test_a_header_of_another_form_is_a_bad_signature(header: str, clock: MovableClock) -> None:
    from datetime import timedelta

    from billing.stripe.signatures import BadSignatureError, check_signature

    with pytest.raises(BadSignatureError):
        check_signature(b"{}", header, (NEW,), clock.now(), timedelta(days=100_000))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":1,"type":"x","created":1,"data":{"object":[]}}', b"\xff"])
def test_a_signed_body_that_is_no_event_is_refused(story: Bridge, body: bytes) -> None:
    import stripe

    at = int(story.clock.now().timestamp())
    mac = stripe.WebhookSignature.generate_signature_header(body.decode("latin-1"), NEW, at)
    with pytest.raises(InvalidValueError), story.database.writing(story.tenant) as uow:
        accept_webhook(uow, body, mac, story.settings, story.clock.now())


def test_one_changed_byte_is_refused_and_nothing_is_kept(story: Bridge, twin: Twin) -> None:
    at = int(story.clock.now().timestamp())
    body, header = signed(twin.account.events[0], (NEW,), at)
    with pytest.raises(InvalidValueError, match="no signature fits"), story.database.writing(story.tenant) as uow:
        accept_webhook(uow, body.replace(b"customer", b"Customer", 1), header, story.settings, story.clock.now())
    assert story.read_events() == 0


def test_events_of_nobody_we_know_are_kept_and_ignored(story: Bridge, twin: Twin, to_endpoint: Deliver) -> None:
    stranger = invoices.create(twin.account, Params({"customer": twin.account.all("customer")[0]["id"]}))
    events = [event for event in twin.account.events if event["data"]["object"]["id"] == stranger["id"]]
    unheard_of = {**events[0], "id": "evt_future", "type": "moon.landed", "data": {"object": {"object": "moon"}}}
    assert to_endpoint([*events, unheard_of]) == [200, 200]
    assert story.read_events() == 2
    assert story.listener == Listener()


def test_a_marked_paid_invoice_without_money_is_not_believed(story: Bridge, twin: Twin, to_endpoint: Deliver) -> None:
    remote = twin.account.objects[str(story.row("inv-1").stripe_id)]
    remote["status"] = "paid"
    twin.account.emit("invoice.paid", invoices.render(twin.account, remote))
    to_endpoint(twin.account.events[-1:])
    story.read_events()
    row = story.row("inv-1")
    assert story.listener.paid() == {}
    assert row.needs_review == "marked paid, but of 1000 only 0 is paid or credited"
