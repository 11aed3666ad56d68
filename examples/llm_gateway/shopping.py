"""Ten weeks of window-shopping before the first customer signs: prices moved a little each week, and choices followed.

Every customer asked for a quote a week. What seats and single sign-on cost stood on that week's price sheet; whether
the customer put them into the basket was decided by a logit in the price. None of these quotes was accepted. This is
what the console's demand curves are drawn from.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from billing.database import Database
from billing.publishing import add_sheet
from billing.quotes import QuoteRequest, create_quote
from billing.repositories.price_books import StoredBook
from examples.llm_gateway.world import SEED, Account
from pricing_engine.price_sheet import PriceSheet, list_price_sheet
from pricing_engine.sealing import Signer
from pricing_engine.segmentation import DEFAULT_SEGMENT

WEEKS = 10
_PRICES = {"seats": ("6.4", "9.6"), "sso": ("32", "48")}
"""Lowest and highest price tried, around the list price."""
_TAKES = {"seats": (4.4, 0.5), "sso": (3.2, 0.075)}
"""log odds of taking = a - b x price."""


def shop(
    database: Database, tenant: str, book: StoredBook, signer: Signer, world: list[Account], until: datetime
) -> None:
    """Quote every account once a week for the ten weeks before `until`; then list prices are in force again."""
    dice = random.Random(SEED)
    week = timedelta(days=7)
    for number in range(WEEKS):
        at = until - (WEEKS - number) * week
        sheet = _sheet(book, number + 1, at, dice)
        with database.writing(tenant) as uow:
            add_sheet(uow, sheet, signer, at)
            for i, account in enumerate(world):
                quote_id = f"00000000-0000-7000-9{number:03d}-{i:012d}"
                basket = _basket(account, sheet, dice)
                create_quote(uow, QuoteRequest(account.customer.key, basket), signer, at + timedelta(hours=i), quote_id)
    with database.writing(tenant) as uow:
        add_sheet(uow, list_price_sheet(book.book, book.content_hash, DEFAULT_SEGMENT, WEEKS + 1, until), signer, until)


def _sheet(book: StoredBook, epoch: int, at: datetime, dice: random.Random) -> PriceSheet:
    """Return a week's sheet: each tried price a rung drawn between its bounds."""
    listed = list_price_sheet(book.book, book.content_hash, DEFAULT_SEGMENT, epoch, at)
    prices = []
    for each in listed.prices:
        if each.feature in _PRICES:
            low, high = map(Decimal, _PRICES[each.feature])
            rungs = int((high - low) / each.ladder_step)
            price = low + dice.randrange(rungs + 1) * each.ladder_step
            prices.append(msgspec.structs.replace(each, price=price, lowest=low, highest=high))
        else:
            prices.append(each)
    return PriceSheet(
        book_hash=listed.book_hash, segment=listed.segment, epoch=epoch, effective_from=at, prices=tuple(prices)
    )


def _basket(account: Account, sheet: PriceSheet, dice: random.Random) -> dict[str, Any]:
    basket = {
        key: value for key, value in account.selection.items() if key not in _TAKES and key != "dedicated_capacity"
    }
    if _takes("seats", sheet, dice):
        basket["seats"] = str(dice.randrange(1, 40))
        if _takes("sso", sheet, dice):
            basket["sso"] = True
    return basket


def _takes(feature: str, sheet: PriceSheet, dice: random.Random) -> bool:
    a, b = _TAKES[feature]
    return dice.random() < 1 / (1 + math.exp(b * float(sheet.price_of(feature).price) - a))
