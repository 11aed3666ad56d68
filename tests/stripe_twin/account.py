"""One Stripe account held in memory: its objects, its event log, its clock."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.stripe_twin.form import Params
from tests.stripe_twin.problems import invalid, missing

API_VERSION = "2026-10-28.endive"

Object = dict[str, Any]


class Account:
    """Objects by id, newest last, and every event about them. Not thread-safe: one loop drives it."""

    def __init__(self, now: Callable[[], datetime], *, line_cap: int = 250) -> None:
        self.now = now
        self.line_cap = line_cap
        self.objects: dict[str, Object] = {}
        self.by_kind: dict[str, list[str]] = defaultdict(list)
        self.lines: dict[str, list[Object]] = defaultdict(list)
        self.events: list[Object] = []
        self.charges_made = 0
        self.card_on_file: str | None = None  # A test method that each new customer gets, as if by a checkout page.
        self.on_event: list[Callable[[Object], None]] = []
        self._numbers = itertools.count(1)

    def timestamp(self) -> int:
        """Return the present in whole seconds, as Stripe stamps its objects."""
        return int(self.now().timestamp())

    def new_id(self, prefix: str) -> str:
        """Return a fresh id of Stripe's form."""
        return f"{prefix}_Twin{next(self._numbers):014d}"

    def add(self, kind: str, body: Object) -> Object:
        """Keep a new object."""
        self.objects[body["id"]] = body
        self.by_kind[kind].append(body["id"])
        return body

    def get(self, kind: str, identity: str | None, param: str = "id") -> Object:
        """Return an object of that kind; a 404 otherwise."""
        found = self.objects.get(identity or "")
        if found is None or found["object"] != kind or found.get("deleted"):
            raise missing(kind, identity or "", param)
        return found

    def all(self, kind: str) -> list[Object]:
        """Return all objects of a kind, oldest first; deleted ones left out."""
        return [self.objects[identity] for identity in self.by_kind[kind] if not self.objects[identity].get("deleted")]

    def emit(self, kind: str, body: Object, previous: Object | None = None) -> Object:
        """Log an event with a snapshot of the object."""
        data: Object = {"object": copy.deepcopy(body)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.timestamp(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        self.events.append(event)
        for listener in self.on_event:
            listener(event)
        return event


def page(found: list[Object], params: Params, url: str) -> Object:
    """Return one page of a list whose first element is shown first."""
    limit = params.integer("limit", 10)
    if limit is None or not 1 <= limit <= 100:
        raise invalid("limit must be between 1 and 100", param="limit")
    ids = [item["id"] for item in found]
    after, before = params.text("starting_after"), params.text("ending_before")
    start, stop = 0, len(found)
    if after is not None:
        if after not in ids:
            raise missing("object", after, "starting_after")
        start = ids.index(after) + 1
    if before is not None:
        if before not in ids:
            raise missing("object", before, "ending_before")
        stop = ids.index(before)
        start = max(0, stop - limit)
    data = found[start:stop][:limit]
    return {"object": "list", "data": data, "has_more": stop - start > limit, "url": url}


def created_within(found: list[Object], params: Params) -> list[Object]:
    """Keep what was created inside the `created` range of the query."""
    window = params.tree.get("created")
    if window is None:
        return found
    if isinstance(window, str):
        return [item for item in found if item["created"] == int(window)]
    tests: dict[str, Callable[[int, int], bool]] = {
        "gt": lambda at, bound: at > bound,
        "gte": lambda at, bound: at >= bound,
        "lt": lambda at, bound: at < bound,
        "lte": lambda at, bound: at <= bound,
    }
    bounds = [(tests[name], int(text)) for name, text in window.items()]
    return [item for item in found if all(test(item["created"], bound) for test, bound in bounds)]
