"""Pure parts: currencies, folding, carrying over, keys, states. Laws over random input."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.billing_provider import (
    BusyError,
    NoAnswerError,
    NotAuthorisedError,
    RateLimitedError,
    RefusedError,
    RemoteStatus,
    StoredFailureError,
)
from billing.collection import CollectionMethod, InvoiceToCollect, LineTax, LineToCollect
from billing.stripe.carry_over import Obligation, owed, split
from billing.stripe.currencies import currency_table, stripe_currency, wire_amount
from billing.stripe.handing_over import HandOver, configured_hand_over
from billing.stripe.operations import (
    SAME_KEY_FAILURES,
    Aggregate,
    Kind,
    Operation,
    State,
    after_failure,
    idempotency_key,
    key_is_trusted,
)
from billing.stripe.planning import MAX_LINES, CarriedOver, plan_collection
from billing.stripe.settings import LastStep, LiveKeyRefusedError, StripeSettings, stripe_settings
from billing.stripe.status import CollectionStatus, merged
from models.values.errors import InvalidValueError
from tests.stripe.bridge import ADA, JANUARY, an_invoice
from tests.stripe_twin.clock import START

CODES = ["USD", "JPY", "KRW", "KWD", "BHD", "ISK", "UGX", "MGA", "HUF", "XAF"]
minor_amounts = st.integers(-(10**9), 10**9)


@given(amounts=st.lists(minor_amounts, max_size=40), code=st.sampled_from(CODES))
def test_amounts_on_the_wire_sum_to_the_amount_on_the_wire(amounts: list[int], code: str) -> None:
    """Rounded one by one, eighty lines of ariary would drift by eighty."""
    money = stripe_currency(code)
    wired = money.to_wire(amounts)
    assert sum(wired) == sum(money.to_wire([sum(amounts)]))
    if money.per_minor >= 1:
        assert [money.from_wire(amount) for amount in wired] == amounts


@given(owed_minor=st.integers(0, 10**10), code=st.sampled_from(CODES))
def test_what_is_collected_is_chargeable_and_the_rest_is_less_than_a_charge(owed_minor: int, code: str) -> None:
    money = stripe_currency(code)
    collect = money.collectable(owed_minor)
    rest = owed_minor - collect
    assert collect == 0 or collect >= money.minimum_minor
    assert collect % money.step_minor == 0
    assert 0 <= rest < max(money.minimum_minor, money.step_minor)
    assert not collect or wire_amount(code, collect) % currency_table()["step_on_wire"].get(code, 1) == 0


@pytest.mark.parametrize(
    ("code", "owed_minor", "collect", "on_the_wire"),
    [
        ("USD", 1_234, 1_234, 1_234),
        ("USD", 49, 0, 0),
        ("JPY", 1_234, 1_234, 1_234),
        ("KRW", 1_234, 1_234, 1_234),
        ("KWD", 1_234, 1_230, 1_230),
        ("ISK", 1_234, 1_234, 123_400),
        ("UGX", 1_234, 1_234, 123_400),
        ("MGA", 123_450, 123_400, 1_234),
    ],
)
def test_currencies_of_other_digits(code: str, owed_minor: int, collect: int, on_the_wire: int) -> None:
    money = stripe_currency(code)
    assert money.collectable(owed_minor) == collect
    assert money.to_wire([collect]) == [on_the_wire]


@st.composite
def invoices_to_collect(draw: st.DrawFn) -> InvoiceToCollect:
    code = draw(st.sampled_from(CODES))
    lines = tuple(
        LineToCollect(
            str(number),
            f"feature-{draw(st.integers(0, 3))}",
            "",
            amount,
            JANUARY,
            taxes=(LineTax("VAT", Decimal("7.5"), tax),) if tax else (),
        )
        for number, (amount, tax) in enumerate(
            draw(st.lists(st.tuples(st.integers(-1_000, 100_000), st.integers(0, 900)), min_size=1, max_size=30))
        )
    )
    total = sum(line.amount_minor + sum(tax.amount_minor for tax in line.taxes) for line in lines)
    if total < 0:
        lines += (LineToCollect("top", "top", "", -total, JANUARY),)
    total = max(total, 0)
    return InvoiceToCollect("i", "N-1", ADA, code, lines, total, settled_minor=draw(st.integers(0, total)))


@given(invoice=invoices_to_collect(), earlier=st.lists(st.integers(1, 5_000), max_size=3))
def test_a_plan_sends_exactly_what_it_collects(invoice: InvoiceToCollect, earlier: list[int]) -> None:
    carried = [CarriedOver(f"e{number}", f"E-{number}", amount) for number, amount in enumerate(earlier)]
    plan = plan_collection(invoice, carried)
    owed_minor = invoice.total_minor + sum(earlier) - invoice.settled_minor
    assert plan.collect_minor + plan.carried_out_minor == owed_minor
    sent = sum(line.amount + line.tax for line in plan.lines)
    assert [sent] == stripe_currency(invoice.currency).to_wire([plan.collect_minor])
    assert bool(plan.lines) == bool(plan.collect_minor)
    assert len(plan.folded) == len(invoice.lines)
    for line in plan.lines:
        assert "E" not in str(line.amount)
        assert all("E" not in tax.percent for tax in line.taxes)


@pytest.mark.parametrize(("lines", "features"), [(240, 240), (241, 2), (1_000, 240), (1_000, 241), (1_000, 999)])
def test_folding_keeps_sums_and_stays_below_the_cap(lines: int, features: int) -> None:
    invoice = an_invoice(amounts=tuple(range(lines)), tax_percent="19", features=features)
    plan = plan_collection(invoice, [])
    assert len(plan.lines) <= MAX_LINES
    assert sum(line.amount + line.tax for line in plan.lines) == invoice.total_minor
    amounts: Counter[str] = Counter()
    for line_id, ref in plan.folded:
        amounts[ref] += int(line_id) - 1
    assert amounts == Counter({line.ref: line.amount for line in plan.lines})


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[str, Obligation], dict[str, list[str]], str]:
    """Invoices in a row, each carrying a part over to the next; the last collects all that is left."""
    invoices: dict[str, Obligation] = {}
    taken: dict[str, list[str]] = {}
    waiting: list[tuple[str, int]] = []
    for number in range(draw(st.integers(1, 6))):
        name, own = f"i{number}", draw(st.integers(0, 500))
        whole = own + sum(amount for _, amount in waiting)
        taken[name] = [earlier for earlier, _ in waiting]
        collect = draw(st.integers(0, whole))
        invoices[name] = Obligation(name, own, collect)
        waiting = [(name, whole - collect)] if collect < whole else []
    last = f"i{len(invoices) - 1}"
    return invoices, taken, last


@given(chain=chains(), payments=st.lists(st.integers(1, 400), max_size=6))
def test_payments_pay_the_oldest_debt_first_and_nothing_twice(
    chain: tuple[dict[str, Obligation], dict[str, list[str]], str], payments: list[int]
) -> None:
    invoices, taken, _ = chain
    paid: Counter[str] = Counter()
    for name, invoice in invoices.items():  # Each collects, in full, under its own name.
        queue = owed(name, invoices, taken)
        for invoice_id, part in split(queue, name, 0, invoice.collect_minor):
            paid[invoice_id] += part
    collected = sum(invoice.collect_minor for invoice in invoices.values())
    assert sum(paid.values()) == collected
    assert all(paid[name] <= invoice.own_minor for name, invoice in invoices.items())
    name = next(reversed(invoices))
    queue, before = owed(name, invoices, taken), 0
    in_parts: Counter[str] = Counter()
    for amount in payments:
        for invoice_id, part in split(queue, name, before, amount):
            in_parts[invoice_id] += part
        before += amount
    assert in_parts == Counter(dict(split(queue, name, 0, sum(payments))))


@given(tenant=st.text(min_size=1, max_size=120), identity=st.text(min_size=1, max_size=120), seq=st.integers(1, 10**6))
def test_keys_travel_in_a_header_whatever_the_names(tenant: str, identity: str, seq: int) -> None:
    key = idempotency_key(tenant, "invoice", identity, seq, "pay", 1)
    assert key.isascii()
    assert key.isprintable()
    assert len(key) <= 255
    assert key != idempotency_key(tenant, "invoice", identity, seq, "pay", 2)
    assert key == idempotency_key(tenant, "invoice", identity, seq, "pay", 1)


@given(news=st.permutations([RemoteStatus.DRAFT, RemoteStatus.OPEN, RemoteStatus.UNCOLLECTIBLE, RemoteStatus.PAID]))
def test_news_in_any_order_ends_in_the_same_state(news: list[RemoteStatus]) -> None:
    state = CollectionStatus.CLOSED
    for each in news:
        state = merged(state, each)
    assert state is CollectionStatus.PAID


@pytest.mark.parametrize("final", [CollectionStatus.PAID, CollectionStatus.VOID, CollectionStatus.SETTLED])
def test_nothing_leaves_a_final_state(final: CollectionStatus) -> None:
    assert all(merged(final, remote) is final for remote in RemoteStatus)


def _operation(**changes: object) -> Operation:
    chosen: dict[str, object] = {
        "aggregate": Aggregate.INVOICE,
        "aggregate_id": "i",
        "seq": 1,
        "kind": Kind.PAY,
        "params": {},
        "key": "k",
        "key_generation": 1,
        "attempts": 1,
        "failures": 0,
        "look_up_first": False,
        "first_sent_at": START,
        "created_at": START,
    }
    return Operation(**{**chosen, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "failures", "state"),
    [
        (NoAnswerError("reset"), 0, State.RETRY_WAIT),
        (NoAnswerError("500", status=500), SAME_KEY_FAILURES - 1, State.AMBIGUOUS),
        (StoredFailureError("500", status=500), 0, State.AMBIGUOUS),
        (BusyError("409", status=409), 50, State.RETRY_WAIT),
        (RateLimitedError("429", status=429), 50, State.RETRY_WAIT),
        (RefusedError("400", status=400), 0, State.DEAD),
        (NotAuthorisedError("401", status=401), 0, State.RETRY_WAIT),
    ],
)
def test_each_failure_moves_as_the_table_says(error: Exception, failures: int, state: State) -> None:
    move = after_failure(_operation(failures=failures), error, START, 0.5)  # type: ignore[arg-type]
    assert move.state is state
    assert not move.new_key, "no failure by itself changes the key"
    assert move.stops_worker == isinstance(error, NotAuthorisedError)


@given(attempts=st.integers(1, 10_000), jitter=st.floats(0, 0.999))
def test_waits_grow_and_stay_bounded(attempts: int, jitter: float) -> None:
    move = after_failure(_operation(attempts=attempts), RateLimitedError("429"), START, jitter)
    assert timedelta(seconds=0.25) <= move.next_at - START <= timedelta(seconds=300)


def test_a_key_is_trusted_for_less_than_a_day() -> None:
    assert key_is_trusted(START, START + timedelta(hours=22, minutes=59))
    assert not key_is_trusted(START, START + timedelta(hours=23))


def test_live_keys_are_for_production_only() -> None:
    for key in ("sk_live_x", "rk_live_x"):
        with pytest.raises(LiveKeyRefusedError):
            StripeSettings(key)
        assert {StripeSettings(key, environment=each).api_key for each in ("production", "live")} == {key}
    with pytest.raises(InvalidValueError):
        StripeSettings("pk_test_x")
    with pytest.raises(InvalidValueError):
        StripeSettings("sk_test_x", base_address="http://stripe.example")
    with pytest.raises(InvalidValueError, match="ALACARTE_STRIPE_KEY"):
        stripe_settings({})
    assert "sk_test_secret" not in repr(StripeSettings("sk_test_secret", webhook_secrets=("whsec_x",)))


def test_settings_come_from_the_environment() -> None:
    read = stripe_settings(
        {
            "ALACARTE_STRIPE_KEY": "sk_test_x",
            "ALACARTE_STRIPE_WEBHOOK_SECRETS": "whsec_new,whsec_old,",
            "ALACARTE_STRIPE_REQUESTS_PER_SECOND": "80",
            "ALACARTE_STRIPE_RETRY_DAYS": "0.5,2",
            "ALACARTE_STRIPE_LAST_STEP": "leave_open",
        }
    )
    assert read.webhook_secrets == ("whsec_new", "whsec_old")
    assert (read.requests_per_second, read.last_step) == (80.0, LastStep.LEAVE_OPEN)
    assert read.retry_after == (timedelta(hours=12), timedelta(days=2))
    assert stripe_settings({"ALACARTE_STRIPE_KEY": "sk_test_x"}) == StripeSettings("sk_test_x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALACARTE_STRIPE_REQUESTS_PER_SECOND", "fast"),
        ("ALACARTE_STRIPE_REQUESTS_PER_SECOND", "nan"),
        ("ALACARTE_STRIPE_REQUESTS_PER_SECOND", "0"),
        ("ALACARTE_STRIPE_RETRY_DAYS", "1,soon"),
        ("ALACARTE_STRIPE_RETRY_DAYS", "-1"),
        ("ALACARTE_STRIPE_LAST_STEP", "sue"),
        ("ALACARTE_STRIPE_COLLECTION", "beg"),
    ],
)
def test_a_setting_that_says_nothing_is_refused(name: str, value: str) -> None:
    environment = {"ALACARTE_STRIPE_KEY": "sk_test_x", name: value}
    read = configured_hand_over if name.endswith("COLLECTION") else stripe_settings
    with pytest.raises(InvalidValueError):
        read(environment)


def test_without_a_key_nobody_collects() -> None:
    assert configured_hand_over({}) is None
    assert configured_hand_over({"ALACARTE_STRIPE_KEY": "sk_test_x"}) == HandOver(CollectionMethod.CHARGE)


@pytest.mark.parametrize(
    "change", [{"total_minor": 1}, {"lines": ()}, {"settled_minor": 9_999}, {"settled_minor": -1}, {"currency": "usd"}]
)
def test_an_invoice_that_does_not_add_up_is_not_taken(change: dict[str, object]) -> None:
    from dataclasses import replace

    with pytest.raises(InvalidValueError):
        replace(an_invoice(), **change)  # type: ignore[arg-type]


def test_custom_credits_cannot_be_collected() -> None:
    with pytest.raises(InvalidValueError, match="custom credits"):
        stripe_currency("XTOKENS.3")
