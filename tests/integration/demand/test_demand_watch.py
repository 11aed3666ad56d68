"""Prices that no person looks at: what may come into force by itself, what takes it back, and what waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from api.cli.main import main
from billing.audit import Actor
from billing.demand_watch import Watched, WatchOrder, watch
from billing.epoch_proposals import EpochOrder, next_to_publish, proposals
from billing.repositories.price_books import PriceBookRepository
from models.values.errors import InvalidValueError
from pricing_engine.demand.publishing_gates import Gates
from tests.demand_shop import BEGAN, TENANT, Shop
from tests.quote_facts import SIGNER

WEEK = timedelta(days=7)
FEBRUARY = BEGAN + timedelta(days=30)
EASY = EpochOrder(gates=Gates(largest_risk=0.3, least_effective_quotes=100))
AUTOMATIC = WatchOrder(is_automatic=True, proposing=EASY)


def look(shop: Shop, at: datetime, order: WatchOrder = AUTOMATIC) -> Watched:
    return watch(shop.database, TENANT, None, order, SIGNER, Actor("watch", at))


def price_at(shop: Shop, at: datetime) -> tuple[Decimal, str]:
    """Return the price before jitter and the model of the sheet in force."""
    with shop.database.reading(TENANT) as uow:
        sheet = PriceBookRepository(uow).current_sheet(shop.book.content_hash, "default", at).sheet
    return sheet.price_of("seats").price, sheet.model_hash


def test_an_epoch_follows_the_other_until_acceptance_leaves_the_model(shop: Shop) -> None:
    shop.sell()
    shop.repeat(6)
    first = look(shop, FEBRUARY)
    assert first.proposal is not None
    assert (first.proposal.objections, first.waits, first.is_alarmed) == ((), "", False)
    assert [each.sheet.epoch for each in first.sheets] == [2]
    assert price_at(shop, FEBRUARY) == (Decimal("7.28"), shop.model_hash())
    assert shop.audited() == [("watch", "price_epoch.publish")]

    hour_later = look(shop, FEBRUARY + timedelta(hours=1))
    assert (hour_later.proposal, hour_later.sheets) == (None, ())
    assert "prices stay until" in hour_later.waits
    assert hour_later.model is not None

    with shop.database.writing(TENANT) as uow:
        for number in range(100):
            shop.quote_in(uow, number, FEBRUARY + timedelta(hours=2, seconds=number), lambda _who, _price: 0.02)
    alarm = look(shop, FEBRUARY + timedelta(hours=3))
    assert alarm.is_alarmed
    assert [each.sheet.fallback[:17] for each in alarm.sheets] == ["model 1: 1 alarms"]
    assert price_at(shop, FEBRUARY + timedelta(hours=3)) == (Decimal(8), "")

    after = look(shop, FEBRUARY + timedelta(hours=4))
    assert after.waits.startswith("list prices are in force: model 1: 1 alarms")
    assert "prices stay until" in after.waits

    # Nobody leaves list prices that an alarm put in force, but a person.
    later = look(shop, FEBRUARY + timedelta(hours=3) + WEEK)
    assert later.proposal is not None
    assert later.proposal.objections[0].startswith("list prices are in force: model 1: 1 alarms")
    assert (later.sheets, later.waits) == ((), "waits for a person: what speaks against it")
    again = look(shop, FEBRUARY + timedelta(hours=4) + WEEK)
    assert again.proposal == later.proposal  # The one that waits, not a new one every hour.
    assert price_at(shop, FEBRUARY + timedelta(hours=4) + WEEK) == (Decimal(8), "")


def test_without_leave_to_publish_the_proposal_waits_and_is_taken_up_later(shop: Shop) -> None:
    shop.sell()
    shop.repeat(6)
    asked = look(shop, FEBRUARY, WatchOrder(proposing=EASY))
    assert asked.proposal is not None
    assert (asked.sheets, asked.waits) == ((), "waits for a person: publishing is not automatic")
    assert price_at(shop, FEBRUARY)[0] == 8
    taken = look(shop, FEBRUARY + timedelta(hours=1))
    assert taken.proposal == asked.proposal
    assert [each.sheet.epoch for each in taken.sheets] == [2]
    with shop.database.reading(TENANT) as uow:
        kept = proposals(uow, "gateway", 9)[0]
        assert kept.state(next_to_publish(uow, "gateway", FEBRUARY + WEEK)) == "published"
    assert (kept.published_by, kept.published_at) == ("watch", FEBRUARY + timedelta(hours=1))


def test_what_few_quotes_say_is_never_published_unseen(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(shop, FEBRUARY).waits == "no quote was decided that a model could learn from"
    shop.sell()
    assert main(["demand", "watch", "--automatic", "--days", "36500", "--holdout", "0"]) == 0
    told = capsys.readouterr().out
    assert "needs a person: no customers are held out" in told
    assert "needs a person: the logged quotes do not say what it earns: only" in told
    assert "waits for a person" in told
    assert price_at(shop, FEBRUARY)[0] == 8
    assert main(["demand", "watch", "--largest-risk", "1.5"]) == 3
    with pytest.raises(InvalidValueError, match="above zero"):
        WatchOrder(epoch=timedelta(0))


def test_a_price_without_effect_is_said_to_have_none_and_goes_to_the_rail(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.sell(lambda _customer, _price: 0.5)
    assert main(["demand", "fit", "--days", "36500"]) == 0
    assert "warning: no effect of price is seen: only the rails bound these prices" in capsys.readouterr().out
    assert main(["demand", "propose", "--out", str(shop.folder / "proposal.json")]) == 0
    told = capsys.readouterr().out
    assert "seats: 8 -> 8.8 (wanted " in told
    assert "rails: step_30_days at 10.4; step at 8.8" in told
    assert "needs a person: no effect of price is seen" in told


def test_prices_that_followed_what_people_knew_are_flagged_and_move_nothing(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seller gives every second customer a fifth off, those who hardly want it; no log shows who they are."""
    shop.negotiate(20)
    shop.sell(lambda customer, price: (0.9 if customer % 2 else 0.35) - 0.05 * (price - 8))
    assert main(["demand", "fit", "--days", "36500"]) == 0
    told = capsys.readouterr().out
    assert "warning: prices moved with demand that the log does not show" in told
    assert "prices stay at the list: prices moved with demand" in told
    assert main(["demand", "card"]) == 0
    assert "confounding: confounded" in capsys.readouterr().out
    assert main(["demand", "propose", "--out", str(shop.folder / "proposal.json")]) == 0
    told = capsys.readouterr().out
    assert "list prices: prices moved with demand that the log does not show" in told
    assert "seats: stays 8" in told or "seats: 8 -> 8" in told
    assert "needs a person: nothing is proposed but list prices" in told
    assert main(["demand", "design-tariff"]) == 3
    assert "distrusted_model" in capsys.readouterr().err
