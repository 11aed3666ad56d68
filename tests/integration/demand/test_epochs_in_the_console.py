"""An epoch that was proposed is put in force by a second person in the console, and stopped there."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from msgspec import structs

from billing import audit, people
from billing.people import Role, add_person
from billing.publishing import publish
from billing.repositories.price_books import PriceBookRepository
from tests.demand_shop import TENANT, Shop
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import PASSWORD, Browsing
from tests.quote_facts import SIGNER

PAGE = "/console/product/demand"


@pytest.fixture
def browsing(door: Door, monkeypatch: pytest.MonkeyPatch) -> Browsing:
    """People who may sign in; `test` is also the name of the key that proposes."""
    monkeypatch.setattr(people, "_SCRYPT", {"n": 2, "r": 8, "p": 1})
    with door.database.writing(TENANT) as uow:
        for name, roles in {"pia": [Role.PRODUCT], "bob": [Role.APPROVER], "test": [Role.APPROVER]}.items():
            add_person(uow, name, roles, PASSWORD, b"0123456789abcdef", START)
    return Browsing(door)


def test_a_second_person_puts_an_epoch_in_force_and_a_person_stops_it(
    door: Door, sold: Shop, browsing: Browsing
) -> None:
    made = door.call("POST", "/v1/demand/gateway/proposals", {}).json()["proposal"]
    asked = {"book": "gateway", "proposal": made["id"]}
    for name, status in (("pia", 403), ("test", 422)):
        browsing.sign_in(name)
        assert "Put in force" not in browsing.get(PAGE).text
        assert browsing.post(f"{PAGE}/publish", asked).status_code == status
    browsing.sign_in("bob")
    assert "Back to list prices" not in browsing.get(PAGE).text
    form = browsing.get(PAGE).text
    assert re.findall(r'name="proposal" value="(\w+)"', form) == [made["id"]]
    assert browsing.post(f"{PAGE}/publish", asked).headers["location"] == f"{PAGE}?book=gateway"
    assert "waits to be published" not in browsing.get(PAGE).text
    shown = door.call("GET", f"/v1/demand/gateway/proposals/{made['id']}").json()["proposal"]
    assert (shown["state"], shown["published_by"]) == ("published", "bob")
    assert browsing.post(f"{PAGE}/publish", asked).status_code == 409

    browsing.sign_in("pia")
    assert "Back to list prices" in browsing.get(PAGE).text
    assert browsing.post(f"{PAGE}/stop", {"book": "gateway", "reason": " "}).status_code == 422
    assert browsing.post(f"{PAGE}/stop", {"book": "gateway", "reason": "complaints"}).status_code == 303
    assert "Back to list prices" not in browsing.get(PAGE).text
    with door.database.reading(TENANT) as uow:
        trail = [(each.actor, each.action) for each in audit.entries(uow) if each.action.startswith("price_epoch")]
    assert trail == [("bob", "price_epoch.publish"), ("pia", "price_epoch.stop")]


def test_what_is_short_is_shown_where_an_epoch_waits(door: Door, sold: Shop, browsing: Browsing) -> None:
    for number in range(40):
        sold.quote(number, START - timedelta(days=9, minutes=number))
    with door.database.writing(TENANT) as uow:
        book = PriceBookRepository(uow).one_in_force("gateway", START).book
        limited = [structs.replace(each, supply_limit=9) if each.key == "seats" else each for each in book.features]
        newer = structs.replace(book, version=book.version + 1, features=tuple(limited), effective_from=START)
        publish(uow, newer, SIGNER, START, "ann")
    whole = door.call("POST", "/v1/demand/gateway/proposals", {}).json()
    [seats] = [each for each in whole["changes"] if each["segment"] == "default"]
    short = seats["limited_supply"]
    assert short["left"] == 9
    browsing.sign_in("bob")
    wanted = round(float(short["wanted"]))
    assert f"9 left, about {wanted} wanted until {short['until']}" in browsing.get(PAGE).text
