"""The shipped example's world: an LLM gateway's customers, what they chose, and what they used. All from one seed.

The gateway sends one event for a customer's traffic of some seconds, so an event carries many tokens.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.customers import Customer, LegalEntity

SEED = 20260901
EVENTS_A_MONTH = 50_000
MONTHS = (datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC))
END = datetime(2026, 11, 1, tzinfo=UTC)

_DUPLICATE_SHARE = 0.004
_LATE_SHARE = 0.002

ENTITY = LegalEntity("alacarte-ie", "Gateway Ltd", "IE", "1 Grand Canal Square, Dublin 2, Ireland", "IE1234567T", "GW")

_NAMES = (
    ("aurora", "Aurora Robotics GmbH", "DE", "de", "Europe/Berlin", "Invalidenstraße 5, 10115 Berlin"),
    ("hangang", "한강소프트웨어 주식회사", "KR", "ko", "Asia/Seoul", "서울특별시 마포구 월드컵북로 396"),
    ("sakura", "さくら翻訳株式会社", "JP", "ja", "Asia/Tokyo", "東京都千代田区丸の内1丁目9番1号"),
    ("baiyun", "白云数据有限公司", "CN", "zh", "Asia/Shanghai", "广州市白云区机场路100号"),
    ("garonne", "Éditions de la Garonne SARL", "FR", "fr", "Europe/Paris", "12 rue Sainte-Catherine, 33000 Bordeaux"),
    ("prairie", "Prairie Legal LLP", "US", "en", "America/Chicago", "200 E Randolph St, Chicago IL"),
)
_TRADES = ("Analytics", "Labs", "Health", "Finance", "Games", "Studio", "Cloud", "Media")
_PLACES = ("Oslo", "Porto", "Leeds", "Turin", "Gdansk", "Malmo", "Ghent", "Graz", "Cork", "Tartu", "Brno", "Lyon")


@dataclass(frozen=True, slots=True)
class Account:
    """One customer with what it chose, when it accepted, and how much it uses."""

    customer: Customer
    selection: dict[str, Any]
    accepted_at: datetime
    weight: float
    models: tuple[str, ...]


def accounts(count: int = 30) -> list[Account]:
    """Return the example's customers; the same ones on every machine."""
    dice = random.Random(SEED)
    made: list[Account] = []
    for number in range(count):
        customer = _customer(number, dice)
        selection = _selection(number, dice)
        day = dice.choice((0, 0, 0, 0, 4, 11))
        accepted_at = MONTHS[0] + timedelta(days=day, hours=9 * bool(day))
        models = ("small", "large") if dice.random() < 0.6 else ("small",)
        made.append(Account(customer, selection, accepted_at, dice.paretovariate(1.4), models))
    return made


def _customer(number: int, dice: random.Random) -> Customer:
    if number < len(_NAMES):
        key, name, country, language, zone, address = _NAMES[number]
    else:
        place, trade = _PLACES[number % len(_PLACES)], _TRADES[number % len(_TRADES)]
        key, name = f"{place.lower()}-{trade.lower()}", f"{place} {trade} Ltd"
        country, language, zone, address = "IE", "en", "UTC", f"{number} Main Street, {place}"
    segment = dice.choice(("startup", "startup", "enterprise"))
    return Customer(
        key=key,
        legal_entity=ENTITY.key,
        legal_name=name,
        country=country,
        currency="USD",
        email=f"billing@{key}.example",
        address=address,
        language=language,
        zone=zone,
        segment=segment,
    )


def _selection(number: int, dice: random.Random) -> dict[str, Any]:
    """Choose by feature, as customers do: most take tokens, fewer each of the rest."""
    chosen: dict[str, Any] = {"input_tokens": str(dice.randrange(1, 40) * 5_000_000)}
    if dice.random() < 0.95:
        chosen["output_tokens"] = str(dice.randrange(1, 20) * 2_000_000)
    if dice.random() < 0.5:
        chosen["prompt_cache"] = str(dice.randrange(1, 30) * 3_000_000)
    if dice.random() < 0.35:
        chosen["batch_lane"] = str(dice.randrange(1, 50) * 2_000_000)
    if dice.random() < 0.3:
        chosen["priority_lane"] = str(dice.randrange(1, 20) * 500)
    if dice.random() < 0.3:
        chosen["long_context"] = str(dice.randrange(1, 20) * 1_000_000)
    if dice.random() < 0.6:
        chosen["seats"] = str(dice.randrange(1, 40))
        if dice.random() < 0.4:
            chosen["sso"] = True
    if dice.random() < 0.25:
        chosen["audit_log"] = True
    if "priority_lane" not in chosen and number % 10 == 7:
        chosen["dedicated_capacity"] = str(dice.randrange(1, 4))
    return chosen


def events(month: datetime, known: list[Account], count: int = EVENTS_A_MONTH) -> Iterator[dict[str, Any]]:
    """Yield one month's usage events in CloudEvents shape, in the order in which they arrive.

    Some arrive twice, as retries do. In the second month some of the first arrive, late; a few name a meter or a
    customer nobody knows.
    """
    dice = random.Random(f"{SEED}:{month:%Y-%m}")
    span = (END if month == MONTHS[1] else MONTHS[1]) - month
    weights = [account.weight for account in known]
    for number in range(count):
        account = dice.choices(known, weights)[0]
        late = month == MONTHS[1] and dice.random() < _LATE_SHARE
        start = MONTHS[0] if late else month
        at = max(start + span * dice.random(), account.accepted_at)
        event = _event(dice, account, f"{month:%Y%m}-{number:06d}", at)
        yield event
        if dice.random() < _DUPLICATE_SHARE:
            yield event
    yield _plain_event(f"{month:%Y%m}-stray-1", "llm.image", known[0].customer.key, month, {"images": "3"})
    yield _plain_event(
        f"{month:%Y%m}-stray-2", "llm.request", "nobody", month, {"model": "small", "input_tokens": "10"}
    )


def _event(dice: random.Random, account: Account, identity: str, at: datetime) -> dict[str, Any]:
    chosen = account.selection
    lanes = [("llm.request", 8.0)]
    lanes += [("llm.batch", 1.0)] if "batch_lane" in chosen else []
    lanes += [("llm.priority", 1.5)] if "priority_lane" in chosen else []
    lanes += [("llm.long_context", 0.5)] if "long_context" in chosen else []
    kind = dice.choices([name for name, _ in lanes], [weight for _, weight in lanes])[0]
    data: dict[str, str] = {}
    if kind == "llm.request":
        tokens = int(dice.lognormvariate(11.3, 1.1)) + 1
        cached = int(tokens * dice.random() * 0.8) if "prompt_cache" in chosen else 0
        data = {
            "model": dice.choice(account.models),
            "input_tokens": str(tokens),
            "output_tokens": str(int(dice.lognormvariate(9.4, 1.0)) + 1),
            "cached_tokens": str(cached),
        }
    elif kind != "llm.priority":
        data = {"tokens": str(int(dice.lognormvariate(13.2, 0.8)) + 1)}
    return _plain_event(identity, kind, account.customer.key, at, data)


def _plain_event(identity: str, kind: str, customer: str, at: datetime, data: dict[str, str]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "gateway",
        "type": kind,
        "subject": customer,
        "time": at.isoformat().replace("+00:00", "Z"),
        "data": data,
    }


def event_lines(month: datetime, known: list[Account], count: int = EVENTS_A_MONTH) -> Iterator[str]:
    """Yield the same events as JSON lines."""
    for event in events(month, known, count):
        yield json.dumps(event, ensure_ascii=False) + "\n"
