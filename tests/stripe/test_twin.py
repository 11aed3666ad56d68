"""The twin itself: were it lenient, the scenarios that pass against it would prove nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.stripe.conftest import assert_schema_kept, with_sdk
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy
from tests.stripe_twin.gates import Limiter
from tests.stripe_twin.twin import StoredFailure, Twin
from tests.stripe_twin.webhooks import signed

Call = Callable[[Callable[[Any], Any]], Any]
_DRAFT = {"auto_advance": False, "pending_invoice_items_behavior": "exclude", "currency": "usd"}


async def _customer(v1: Any, method: str | None = "pm_card_visa") -> str:
    customer = await v1.customers.create_async({"name": "Ada", "metadata": {"ala_ref": "c"}})
    if method is not None:
        attached = await v1.payment_methods.attach_async(method, {"customer": customer.id})
        settings = {"invoice_settings": {"default_payment_method": attached.id}}
        await v1.customers.update_async(customer.id, settings)
    return str(customer.id)


async def _draft(v1: Any, amounts: list[int], method: str | None = "pm_card_visa", **params: Any) -> Any:
    invoice = await v1.invoices.create_async({"customer": await _customer(v1, method), **_DRAFT, **params})
    return await v1.invoices.add_lines_async(invoice.id, {"lines": [{"amount": amount} for amount in amounts]})


def test_a_key_replays_its_first_answer_for_a_day_and_no_longer(twin: Twin, clock: MovableClock, call: Call) -> None:
    async def work(v1: Any) -> list[str]:
        ids = []
        for seconds in (0, 86_399, 1):
            clock.advance(seconds)
            customer = await v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})
            ids.append(customer.id)
        return ids

    first, replayed, fresh = call(work)
    assert first == replayed != fresh


def test_a_stored_500_is_replayed_whether_or_not_the_work_was_done(twin: Twin, call: Call) -> None:
    twin.failures.append(StoredFailure("POST /v1/customers", commits=True))

    async def work(v1: Any) -> None:
        for _ in range(3):
            with pytest.raises(stripe.APIError) as caught:
                await v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})
            assert caught.value.http_status == 500

    call(work)
    assert len(twin.account.all("customer")) == 1


def test_a_key_with_other_parameters_is_an_error(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        await v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})
        with pytest.raises(stripe.IdempotencyError):
            await v1.customers.create_async({"name": "Bob"}, {"idempotency_key": "k"})

    call(work)


def test_a_key_in_use_by_a_running_request_is_a_conflict_and_creates_one_object(twin: Twin, call: Call) -> None:
    twin.hold_seconds = 0.1

    async def work(v1: Any) -> list[Any]:
        same = [v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"}) for _ in range(2)]
        return await asyncio.gather(*same, return_exceptions=True)

    outcomes = call(work)
    assert sorted(getattr(outcome, "http_status", 200) or 200 for outcome in outcomes) == [200, 409]
    assert len(twin.account.all("customer")) == 1


def test_refused_parameters_are_not_stored_under_the_key(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            await v1.invoices.create_async({"customer": "cus_none"}, {"idempotency_key": "k"})
        customer = await _customer(v1)
        await v1.invoices.create_async({"customer": customer, **_DRAFT}, {"idempotency_key": "k"})

    call(work)


def test_the_251st_line_is_refused_and_leaves_the_others(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> list[int]:
        invoice = await _draft(v1, [1] * 250)
        with pytest.raises(stripe.InvalidRequestError, match="250"):
            await v1.invoices.add_lines_async(invoice.id, {"lines": [{"amount": 1}]})
        pages = await v1.invoices.line_items.list_async(invoice.id, {"limit": 100})
        assert len(pages.data) == 100
        return [line.amount async for line in pages.auto_paging_iter()]

    assert sum(call(work)) == 250


@pytest.mark.parametrize(
    ("first", "then", "allowed"),
    [
        ("draft", "void", False),
        ("draft", "mark_uncollectible", False),
        ("draft", "delete", True),
        ("draft", "finalize", True),
        ("open", "delete", False),
        ("open", "finalize", False),
        ("open", "add_lines", False),
        ("open", "void", True),
        ("open", "mark_uncollectible", True),
        ("paid", "void", False),
        ("paid", "pay", False),
        ("uncollectible", "void", True),
        ("uncollectible", "pay", True),
        ("void", "pay", False),
        ("void", "mark_uncollectible", False),
    ],
)
def test_the_invoice_moves_only_as_its_state_allows(
    twin: Twin, call: Call, first: str, then: str, *, allowed: bool
) -> None:
    async def work(v1: Any) -> None:
        invoice = await _draft(v1, [500])
        steps: dict[str, Callable[[], Any]] = {
            "finalize": lambda: v1.invoices.finalize_invoice_async(invoice.id),
            "pay": lambda: v1.invoices.pay_async(invoice.id),
            "void": lambda: v1.invoices.void_invoice_async(invoice.id),
            "mark_uncollectible": lambda: v1.invoices.mark_uncollectible_async(invoice.id),
            "delete": lambda: v1.invoices.delete_async(invoice.id),
            "add_lines": lambda: v1.invoices.add_lines_async(invoice.id, {"lines": [{"amount": 1}]}),
        }
        reach = {"draft": [], "open": ["finalize"], "paid": ["finalize", "pay"], "void": ["finalize", "void"]}
        for step in {**reach, "uncollectible": ["finalize", "mark_uncollectible"]}[first]:
            await steps[step]()
        if allowed:
            await steps[then]()
        else:
            with pytest.raises(stripe.InvalidRequestError):
                await steps[then]()

    call(work)


def test_a_total_below_the_minimum_is_marked_paid_without_money(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> Any:
        invoice = await _draft(v1, [49])
        return await v1.invoices.finalize_invoice_async(invoice.id)

    invoice = call(work)
    assert (invoice.status, invoice.amount_paid, twin.account.charges_made) == ("paid", 0, 0)
    assert twin.account.all("customer")[0]["balance"] == 49


def test_a_declined_card_leaves_the_invoice_open(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> Any:
        invoice = await _draft(v1, [500], "pm_card_chargeCustomerFail")
        await v1.invoices.finalize_invoice_async(invoice.id)
        with pytest.raises(stripe.CardError):
            await v1.invoices.pay_async(invoice.id)
        return await v1.invoices.retrieve_async(invoice.id)

    invoice = call(work)
    assert (invoice.status, invoice.attempt_count, invoice.amount_paid) == ("open", 1, 0)
    assert "invoice.payment_failed" in [event["type"] for event in twin.account.events]


def test_no_more_is_refunded_than_was_paid(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        invoice = await _draft(v1, [500])
        paid = await v1.invoices.pay_async(invoice.id, {"expand": ["payments"]})
        intent = paid.payments.data[0].payment.payment_intent
        await v1.refunds.create_async({"payment_intent": intent, "amount": 400})
        with pytest.raises(stripe.InvalidRequestError):
            await v1.refunds.create_async({"payment_intent": intent, "amount": 101})
        with pytest.raises(stripe.InvalidRequestError):
            await v1.credit_notes.create_async({"invoice": invoice.id, "amount": 501, "out_of_band_amount": 501})

    call(work)


def test_beyond_its_rate_the_twin_answers_429(twin: Twin, clock: MovableClock, call: Call) -> None:
    twin.limiter = Limiter(clock.now, rate=25)

    async def work(v1: Any) -> None:
        for _ in range(25):
            await v1.customers.list_async({"limit": 1})
        with pytest.raises(stripe.RateLimitError):
            await v1.customers.list_async({"limit": 1})
        clock.advance(1 / 25)
        await v1.customers.list_async({"limit": 1})

    call(work)


@pytest.mark.usefixtures("description")
@pytest.mark.parametrize(
    "params",
    [
        {"price": "price_1"},
        {"amount": "1.5"},
        {"unit_amount": 5},
        {"amount": 1, "price_data": {"currency": "usd", "unit_amount_decimal": "1E-7"}},
        {"amount": 1, "period": {"start": 1}},
    ],
)
def test_a_planted_wrong_field_fails_the_suite(twin: Twin, call: Call, params: dict[str, Any]) -> None:
    """Were `price=` sent on a line, as Stripe once allowed, the teardown of every scenario would fail."""

    async def work(v1: Any) -> None:
        invoice = await _draft(v1, [500])
        with pytest.raises(stripe.InvalidRequestError):
            await v1.invoices.add_lines_async(invoice.id, {"lines": [params]})

    call(work)
    with pytest.raises(AssertionError):
        assert_schema_kept(twin)
    assert twin.check is not None
    assert len(twin.check.violations) == 1
    twin.check.violations.clear()


@pytest.mark.usefixtures("description")
def test_a_field_that_stripe_has_dropped_fails_the_suite_when_the_twin_answers_with_it(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        invoice = await _draft(v1, [500])
        twin.account.objects[invoice.id]["paid"] = False
        with pytest.raises(stripe.APIError):
            await v1.invoices.retrieve_async(invoice.id)

    call(work)
    assert twin.check is not None
    assert len(twin.check.violations) == 1
    twin.check.violations.clear()


@pytest.mark.usefixtures("description")
def test_objects_inside_events_keep_the_description_too(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        await v1.invoices.pay_async((await _draft(v1, [500])).id)

    call(work)
    assert twin.check is not None
    for event in twin.account.events:
        body = event["data"]["object"]
        assert twin.check.object(body["object"], body) is None


def test_signed_events_pass_the_sdk(twin: Twin, call: Call) -> None:
    async def work(v1: Any) -> None:
        await _customer(v1)

    call(work)
    body, header = signed(twin.account.events[0], ["whsec_new", "whsec_old"], 1_780_000_000)
    for secret in ("whsec_new", "whsec_old"):
        assert stripe.WebhookSignature.verify_header(body, header, secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body, header, "whsec_other")


@pytest.mark.parametrize(
    ("breakage", "customers", "error"),
    [
        (Breakage.CUT_BEFORE_SENDING, 0, stripe.APIConnectionError),
        (Breakage.CUT_AFTER_COMMIT, 1, stripe.APIConnectionError),
        (Breakage.TOO_MANY, 0, stripe.RateLimitError),
        (Breakage.SERVER_ERROR, 0, stripe.APIError),
        (Breakage.CONFLICT, 0, stripe.APIError),
        (Breakage.DUPLICATE, 1, None),
        (Breakage.DELAY, 1, None),
    ],
)
def test_the_proxy_breaks_one_request_as_told(
    twin: Twin,
    proxy: tuple[FaultProxy, str],
    breakage: Breakage,
    customers: int,
    error: type[Exception] | None,
) -> None:
    faults, url = proxy
    faults.plan(breakage, "POST /v1/customers", seconds=0.01)

    async def work(v1: Any) -> None:
        if error is None:
            await v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})
            return
        with pytest.raises(error):
            await v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})

    with_sdk(url, work)
    assert len(twin.account.all("customer")) == customers
