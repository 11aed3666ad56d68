"""The page of demand: what the model warns of and which epoch waits, as the API and the commands have it."""

from __future__ import annotations

from tests.billing_story import BOOK
from tests.integration.api.door import Door
from tests.integration.console.browsing import Browsing

PAGE = "/console/product/demand"


def test_an_epoch_that_waits_is_shown_with_what_speaks_against_it(door: Door, browsing: Browsing) -> None:
    features = [{**each, "adaptive": True} if each["key"] == "seats" else each for each in BOOK["features"]]
    assert door.call("POST", "/v1/price-books", {**BOOK, "version": 7, "features": features}).status_code == 201
    browsing.sign_in("pia")
    before = browsing.get(PAGE).text
    assert "Seats" in before
    assert "waits to be published" not in before

    assert door.call("POST", "/v1/demand/gateway/proposals", {}).status_code == 201
    shown = browsing.get(PAGE).text
    assert "Epoch 1 is proposed by test and waits to be published." in shown
    assert "seats · default: 10 → 10" in shown
    assert "nothing is proposed but list prices: no model" in shown

    door.call("POST", "/v1/demand/gateway/stop", {"reason": "test"})
    assert "waits to be published" not in browsing.get(PAGE).text
