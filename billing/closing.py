"""Closing a month: every customer charged once, invoices drafted and numbered, the month locked.

A close can be stopped anywhere, kill -9 included, and run again: what is posted is found and left alone, what is
known was fixed when it began, so the result is the same. A second close of a closed month does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from billing import audit
from billing.audit import Actor
from billing.charge_posting import post_charges
from billing.charging import Run, billed_through, cutoff_of
from billing.close_checks import Check, checks_of
from billing.close_tasks import CloseOutcome, CloseTask, Executor, InTurn, up_to_date
from billing.database import Database
from billing.holds import expire_holds
from billing.invoices import PAYMENT_DAYS, InvoiceState, Issue
from billing.invoicing import Collect, discard, draft_open_charges, finalise
from billing.metering.worklists import close_through, cutoffs, last_recorded, reopen_from, settle_late
from billing.months import day_after, first_day
from billing.recognition import recognise
from billing.repositories import journals
from billing.repositories.closes import BillingMonth, CloseRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.tax import TaxRates
from billing.unit_of_work import UnitOfWork
from billing.usage_holds import expire_usage_holds
from billing.wallets import expire_credit
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import bucket_of, check_reason

MAX_GRACE_DAYS = 366
"""Drafts that wait longer are not waited for."""
_FINALISED_AT_ONCE = 200

Progress = Callable[[str, int, int], None]
"""Told what is going on: a word for the stage, how many steps are done, of how many."""


@dataclass(frozen=True, slots=True)
class CloseOptions:
    """How to close. `issued_on` None: the first day after the month. Drafts may be changed for `grace_days`.

    `collect` takes over what is finalised, in the transaction that finalises it. `by`: whom the audit trail names, in
    the transaction that closes the month; a close that finds it closed leaves nothing there.
    """

    actor: str = ""
    issued_on: date | None = None
    grace_days: int = 0
    rates: TaxRates | None = None
    collect: Collect | None = None
    by: Actor | None = None


@dataclass(frozen=True, slots=True)
class CloseResult:
    """What a close did. `was_closed`: it found the month closed and did nothing."""

    month: BillingMonth
    was_closed: bool
    checks: tuple[Check, ...]
    customers: int
    invoices: tuple[str, ...]
    drafts: tuple[str, ...]


def close(
    database: Database,
    tenant: str,
    key: str,
    now: datetime,
    options: CloseOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> CloseResult:
    """Close a month, or go on with a close that was interrupted.

    Raises RuleBrokenError where the checklist has an item that blocks, InvalidValueError for days of grace that are
    below zero or more than a year, and for a date of the invoices before the month or behind the days of grace.
    """
    options = options or CloseOptions()
    if not 0 <= options.grace_days <= MAX_GRACE_DAYS:
        raise InvalidValueError(
            f"must be 0 to {MAX_GRACE_DAYS}", field="grace_days", value=options.grace_days, code="invalid_grace_days"
        )
    first, latest = first_day(key), (now + timedelta(days=options.grace_days + 1)).date()
    if options.issued_on is not None and not first <= options.issued_on <= latest:
        raise InvalidValueError(
            f"must be from {first} to {latest}", field="issued_on", value=options.issued_on, code="invalid_issued_on"
        )
    tell = progress or _silent
    begun = database.write(tenant, lambda uow: _begin(uow, key, now, options))
    if begun.was_closed:
        return begun
    month = begun.month
    with database.reading(tenant) as uow:
        tasks = _tasks(uow, month)
        done = CloseRepository(uow).posted_buckets(month)
        now = max(now, CloseRepository(uow).begun_at(key))  # The machine that began it may have a clock that is ahead.
    left = [task for task in tasks if task.bucket not in done]
    tell("charging", len(tasks) - len(left), len(tasks))
    for i, outcome in enumerate((executor or InTurn()).run(left, database), start=1):
        database.write(tenant, partial(_post, month=month, outcome=outcome, now=now, options=options))
        tell("charging", len(tasks) - len(left) + i, len(tasks))
    _finalise_all(database, tenant, month, now, options.collect, tell)
    return database.write(tenant, lambda uow: _lock(uow, begun, now, options))


def reopen(uow: UnitOfWork, key: str, reason: str, actor: str, now: datetime) -> BillingMonth:
    """Open a closed month again: the next close bills what has changed, on top of what was billed.

    So is one whose close cannot be finished: what it has posted stays, what arrived since is known to the next one.
    Drafts of the month are thrown away by the next close; finalised invoices stay as they are. Raises RuleBrokenError
    unless the month is closed or being closed and no later one is, InvalidValueError without a reason.
    """
    repository = CloseRepository(uow)
    journals.lock(uow)  # A close that is still at work finds that it was given up.
    month = repository.find(key)
    check_reason(reason)
    if month is None or month.state == "open":
        raise RuleBrokenError("is not closed", field="period", value=key, code="period_not_closed")
    later = [each.key for each in repository.all() if each.key > key]
    if later:
        raise RuleBrokenError("a later month is closed", field="period", value=later[0], code="later_period_closed")
    earlier = [each.run for each in repository.all() if each.key < key]
    run, at = earlier[-1] if earlier else f"{month.run} reopened", max(now, month.known_at)
    for instant, customers in _by_instant(_billed_before(uow, first_day(key))):
        reopen_from(uow, customers, instant, run, at)
    repository.move(key, "open")
    repository.log(key, "reopen", actor, reason, now)
    return replace(month, state="open")


# Stages.


def _begin(uow: UnitOfWork, key: str, now: datetime, options: CloseOptions) -> CloseResult:
    """Fix what this close knows; from here on later events are late."""
    repository = CloseRepository(uow)
    journals.lock(uow)  # Of two that begin at once, the second has to see what the first began.
    month = repository.find(key)
    if month is not None and month.state == "closed":
        invoices = tuple(InvoiceRepository(uow).of_period(key))
        return CloseResult(month, True, (), 0, invoices, ())  # noqa: FBT003
    if month is not None and month.state == "closing":
        return CloseResult(month, False, (), 0, (), ())  # noqa: FBT003
    latest = last_recorded(uow, alone=True)
    checks = checks_of(uow, key, now, latest, options.rates, options.issued_on)
    for check in checks:
        if check.blocks and not check.passed:
            rule = f'does not pass "{check.name}" of the checklist'
            raise RuleBrokenError(rule, field="period", value=f"{key}: {check.detail}", code="close_blocked")
    month = BillingMonth(
        key=key,
        state="closing",
        attempt=1 if month is None else month.attempt + 1,
        known_at=now if latest is None else max(now, latest),
        issued_on=options.issued_on or day_after(key),
        finalise_from=now + timedelta(days=options.grace_days),
    )
    for draft in InvoiceRepository(uow).of_period(key, InvoiceState.DRAFT):
        discard(uow, draft)
    repository.save(month)
    repository.log(key, "begin", options.actor, "", now)
    _cut_off(uow, month)
    expire_usage_holds(uow, now)  # Holds before grants: what they kept of an expired one expires with it.
    expire_holds(uow, at=now)
    expire_credit(uow, at=now, recorded_at=now)  # Before invoices are paid: what rolls over pays for them.
    return CloseResult(month, False, checks, 0, (), ())  # noqa: FBT003


def _cut_off(uow: UnitOfWork, month: BillingMonth) -> None:
    """Say up to when each customer's usage is billed, by now or before."""
    through = _billed_before(uow, day_after(month.key))
    known = cutoffs(uow, list(through))
    reached = {
        customer: max(instant, known[customer].closed_through) if customer in known else instant
        for customer, instant in through.items()
    }
    for instant, customers in _by_instant(reached):
        close_through(uow, customers, instant, month.run, month.known_at)


def _billed_before(uow: UnitOfWork, until: date) -> dict[str, datetime]:
    """Return by customer the end of the last period that is over on a day.

    A subscription that has not started by then says nothing, unless the customer has no other.
    """
    subscriptions = SubscriptionRepository(uow)
    through: dict[str, datetime] = {}
    waiting: dict[str, datetime] = {}
    for subscription in subscriptions.of_customers(subscriptions.customers()):
        customer, cutoff = subscription.customer, cutoff_of(subscription, until)
        if subscription.starts_at >= cutoff:
            waiting[customer] = min(cutoff, waiting.get(customer, cutoff))
        else:
            reached = billed_through(subscription, until)
            through[customer] = max(reached, through.get(customer, reached))
    return waiting | through


def _by_instant(through: Mapping[str, datetime]) -> list[tuple[datetime, list[str]]]:
    """Return the customers of each instant, in order."""
    by_instant: dict[datetime, list[str]] = {}
    for customer, instant in through.items():
        by_instant.setdefault(instant, []).append(customer)
    return sorted(by_instant.items())


def _tasks(uow: UnitOfWork, month: BillingMonth) -> list[CloseTask]:
    """Return one task a bucket that has a subscription, in order."""
    others = [each for each in CloseRepository(uow).all() if each.key != month.key and each.state != "open"]
    run = run_of(month, others)
    buckets: dict[int, list[str]] = {}
    for customer in SubscriptionRepository(uow).customers():
        buckets.setdefault(bucket_of(uow.tenant, customer), []).append(customer)
    return [CloseTask(uow.tenant, bucket, tuple(customers), run) for bucket, customers in sorted(buckets.items())]


def run_of(month: BillingMonth, others: Sequence[BillingMonth]) -> Run:
    """Return the run that charges a month, given the other months that are closed, oldest first."""
    before = [each.key for each in others if each.key < month.key]
    return Run(
        key=month.run,
        kind="close",
        period=month.key,
        until=day_after(month.key),
        since=day_after(before[-1]) if before else None,
        known_at=month.known_at,
        known_before=max((each.known_at for each in others), default=None),
        effective_at=datetime.combine(day_after(month.key), time.min, tzinfo=UTC) - timedelta(microseconds=1),
    )


def run_again(uow: UnitOfWork, key: str) -> tuple[BillingMonth, Run]:
    """Return a closed month and the run that looks at it as its close did. Raises RuleBrokenError."""
    months = CloseRepository(uow).all()
    month = next((each for each in months if each.key == key and each.state == "closed"), None)
    if month is None:
        raise RuleBrokenError("is not closed", field="period", value=key, code="period_not_closed")
    run = run_of(month, [each for each in months if each.key < key and each.state != "open"])
    return month, replace(run, again=True)


def _post(uow: UnitOfWork, month: BillingMonth, outcome: CloseOutcome, now: datetime, options: CloseOptions) -> None:
    """Post one bucket, once: charges, journals, drafts, and the late events that are settled."""
    journals.lock(uow)
    _still_closing(uow, month)
    outcome = up_to_date(uow, outcome)
    customers, charged = outcome.task.customers, outcome.charged
    is_first = CloseRepository(uow).claim(
        month,
        outcome.task.bucket,
        input_hash=charged.input_hash,
        customers=len(customers),
        charges=len(charged.drafts),
        at=now,
    )
    if not is_first:
        return
    post_charges(uow, charged.drafts, now)
    recognise(uow, customers, outcome.task.run, now)
    settle_late(uow, charged.late, month.run)
    draft_open_charges(uow, customers, issue_of(month), now, options.rates)


def _still_closing(uow: UnitOfWork, month: BillingMonth) -> BillingMonth:
    """Return the month as it is now.

    An attempt that was given up is refused: what it has read, another one may have billed.
    """
    now = CloseRepository(uow).find(month.key)
    if now is None or now.attempt != month.attempt or now.state == "open":
        raise ConflictError("was reopened meanwhile", field="period", value=month.key, code="period_reopened")
    return now


def issue_of(month: BillingMonth) -> Issue:
    """Return under what a month's invoices are made."""
    return Issue(
        period=month.key,
        cause=month.run,
        issued_on=month.issued_on,
        due_on=month.issued_on + timedelta(days=PAYMENT_DAYS),
        finalise_from=month.finalise_from,
    )


def _finalise_all(
    database: Database, tenant: str, month: BillingMonth, now: datetime, collect: Collect | None, tell: Progress
) -> None:
    """Finalise the month's drafts in the order of customers, unless they are still in their grace period."""
    if month.finalise_from > now:
        return
    with database.reading(tenant) as uow:
        drafts = InvoiceRepository(uow).of_period(month.key, InvoiceState.DRAFT)
    for begin in range(0, len(drafts), _FINALISED_AT_ONCE):
        some = drafts[begin : begin + _FINALISED_AT_ONCE]
        database.write(tenant, partial(finalise, invoices=some, recorded_at=now, collect=collect))
        tell("finalising", min(begin + _FINALISED_AT_ONCE, len(drafts)), len(drafts))


def _lock(uow: UnitOfWork, begun: CloseResult, now: datetime, options: CloseOptions) -> CloseResult:
    repository = CloseRepository(uow)
    journals.lock(uow)
    locked = _still_closing(uow, begun.month)
    month = replace(begun.month, state="closed")
    if locked.state != "closed":  # Another one may have gone on with the same close.
        repository.move(month.key, "closed")
        repository.log(month.key, "lock", options.actor, "", now)
        if options.by is not None:
            audit.record(uow, options.by, "month.close", ("close", month.key))
    invoices = InvoiceRepository(uow)
    drafts = invoices.of_period(month.key, InvoiceState.DRAFT)
    all_of_month: Sequence[str] = invoices.of_period(month.key)
    return CloseResult(
        month=month,
        was_closed=False,
        checks=begun.checks,
        customers=len(SubscriptionRepository(uow).customers()),
        invoices=tuple(each for each in all_of_month if each not in set(drafts)),
        drafts=tuple(drafts),
    )


def _silent(stage: str, done: int, of: int) -> None:
    """Tell nobody."""
