"""A strict twin of the part of Stripe that Alacarte uses, without transport: one request in, one answer out.

It proves our logic and that what we send has the form Stripe documents. It does not prove Stripe's behaviour.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tests.stripe_twin import customers, invoices, other_resources, payments
from tests.stripe_twin.account import Account, Object
from tests.stripe_twin.form import Params, Tree, parse
from tests.stripe_twin.gates import Answer, IdempotencyStore, Limiter
from tests.stripe_twin.problems import ProblemError, broken, invalid, missing, rate_limited, unauthorised
from tests.stripe_twin.schema import SchemaCheck, schema_check

_ROUTES: dict[str, Callable[..., Object]] = {
    "POST /v1/customers": customers.create,
    "GET /v1/customers": customers.listing,
    "GET /v1/customers/{customer}": customers.retrieve,
    "POST /v1/customers/{customer}": customers.update,
    "DELETE /v1/customers/{customer}": customers.delete,
    "GET /v1/customers/{customer}/payment_methods": customers.methods_of,
    "POST /v1/payment_methods/{payment_method}/attach": customers.attach,
    "POST /v1/accounts": customers.create_connected,
    "POST /v1/payment_intents": payments.create_intent,
    "GET /v1/payment_intents/{intent}": payments.retrieve_intent,
    "GET /v1/invoice_payments": payments.list_invoice_payments,
    "POST /v1/refunds": payments.create_refund,
    "GET /v1/refunds": payments.list_refunds,
    "GET /v1/refunds/{refund}": payments.retrieve_refund,
    "GET /v1/disputes/{dispute}": payments.retrieve_dispute,
    "POST /v1/invoices": invoices.create,
    "GET /v1/invoices": invoices.listing,
    "GET /v1/invoices/{invoice}": invoices.retrieve,
    "DELETE /v1/invoices/{invoice}": invoices.delete,
    "POST /v1/invoices/{invoice}/add_lines": invoices.add_lines,
    "GET /v1/invoices/{invoice}/lines": invoices.list_lines,
    "POST /v1/invoices/{invoice}/finalize": invoices.finalize,
    "POST /v1/invoices/{invoice}/pay": invoices.pay,
    "POST /v1/invoices/{invoice}/send": invoices.send,
    "POST /v1/invoices/{invoice}/void": invoices.void,
    "POST /v1/invoices/{invoice}/mark_uncollectible": invoices.mark_uncollectible,
    "POST /v1/invoices/{invoice}/attach_payment": invoices.attach_payment,
    "POST /v1/credit_notes": other_resources.create_credit_note,
    "GET /v1/credit_notes": other_resources.list_credit_notes,
    "POST /v1/transfers": other_resources.create_transfer,
    "GET /v1/transfers": other_resources.list_transfers,
    "POST /v1/billing/meter_events": other_resources.create_meter_event,
    "GET /v1/events": other_resources.list_events,
    "GET /v1/events/{event}": other_resources.retrieve_event,
}


class Phase(StrEnum):
    """When a watcher looks at a request: before anything ran, where it may refuse it, and before the reply."""

    RECEIVED = "received"
    COMMITTED = "committed"


@dataclass(slots=True)
class Recorded:
    """One request as the twin saw it."""

    operation: str
    key: str | None
    tree: Tree
    at: datetime
    answer: Answer | None = None


@dataclass(slots=True)
class StoredFailure:
    """A 500 that the twin stores under the request's key, after or instead of doing the work."""

    operation: str
    commits: bool


@dataclass(slots=True)
class Twin:
    """The account with its gates, a record of all traffic, and the faults that a test has planned."""

    now: Callable[[], datetime]
    limiter: Limiter | None = None
    keys: tuple[str, ...] = ("sk_test_twin",)
    account: Account = field(init=False)
    check: SchemaCheck | None = field(init=False)
    requests: list[Recorded] = field(default_factory=list)
    failures: list[StoredFailure] = field(default_factory=list)
    watchers: list[Callable[[Recorded, Phase], None]] = field(default_factory=list)
    hold_seconds: float = 0.0
    _store: IdempotencyStore = field(init=False)
    _routes: list[tuple[re.Pattern[str], str, Callable[..., Object]]] = field(init=False)

    def __post_init__(self) -> None:
        self.account = Account(self.now)
        self.check = schema_check()
        self._store = IdempotencyStore(self.now)
        self._routes = [(_pattern(name), name, handler) for name, handler in _ROUTES.items()]

    async def handle(self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request, through every gate, recorded and checked in both directions."""
        key = headers.get("idempotency-key") if method == "POST" else None
        recorded = Recorded(f"{method} {path}", key, {}, self.now())
        self.requests.append(recorded)
        try:
            self._watch(recorded, Phase.RECEIVED)
            recorded.tree = parse(body if method == "POST" else query)
            answer = await self._through_gates(method, path, recorded, headers)
        except ProblemError as problem:
            answer = Answer(problem.status, {"error": problem.error})
        if self.check is not None:
            violation = self.check.response(method, path, answer.status, answer.body)
            if violation is not None:
                answer = Answer(500, {"error": {"type": "api_error", "message": violation}})
        recorded.answer = answer
        self._watch(recorded, Phase.COMMITTED)
        return answer

    def count(self, operation: str) -> Counter[str]:
        """Return how often each idempotency key ran `operation` to success, replays left out."""
        pattern = _pattern(operation)
        return Counter(
            request.key or ""
            for request in self.requests
            if pattern.fullmatch(request.operation)
            and request.answer is not None
            and request.answer.status < 400
            and not request.answer.replayed
        )

    async def _through_gates(self, method: str, path: str, recorded: Recorded, headers: Mapping[str, str]) -> Answer:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.keys:
            raise unauthorised()
        if self.limiter is not None and not self.limiter.allows():
            raise rate_limited()
        if self.check is not None:
            violation = self.check.request(method, path, recorded.tree)
            if violation is not None:
                raise invalid(violation)
        if recorded.key is None:
            return Answer(200, self._run(recorded))
        kept = self._store.begin(recorded.key, (f"{method} {path}", repr(recorded.tree)))
        if kept is not None:
            return kept
        if self.hold_seconds:
            await asyncio.sleep(self.hold_seconds)
        return self._run_once(recorded, recorded.key)

    def _run_once(self, recorded: Recorded, key: str) -> Answer:
        try:
            answer = Answer(200, self._run(recorded))
        except ProblemError as problem:
            if not problem.stored:
                self._store.forget(key)
                raise
            answer = Answer(problem.status, {"error": problem.error})
        self._store.keep(key, answer)
        return answer

    def _run(self, recorded: Recorded) -> Object:
        for pattern, name, handler in self._routes:
            match = pattern.fullmatch(recorded.operation)
            if match is not None:
                planned = next((failure for failure in self.failures if failure.operation == name), None)
                if planned is not None:
                    self.failures.remove(planned)
                    if planned.commits:
                        handler(self.account, Params(recorded.tree), *match.groups())
                    raise broken()
                return handler(self.account, Params(recorded.tree), *match.groups())
        raise missing("route", recorded.operation)

    def _watch(self, recorded: Recorded, phase: Phase) -> None:
        for watcher in self.watchers:
            watcher(recorded, phase)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("([^/]+)".join(re.escape(part) for part in re.split(r"\{[^}]+\}", name)))
