"""Dunning: what an unpaid invoice leads to, as a function of dates alone. Pure, and the same whenever it is asked.

The age counts in days from the day on which the earliest unpaid invoice is due. A stage may block: what is used while
blocked is not billed, and what was billed ahead for it is credited, which is what pausing a subscription does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from billing.invoices import Invoice, InvoiceState
from models.values.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class Stage:
    """From `after_days` on a debt is in this stage; `blocks`: the service stops. Notices go out on entering."""

    name: str
    after_days: int
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Debt:
    """An invoice with an open amount, by the day on which it is due."""

    invoice: str
    due_on: date
    open_minor: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a customer stands: the stage (None: clear), since when, and for which invoice."""

    stage: Stage | None
    since: date | None
    invoice: str | None


CLEAR = Standing(None, None, None)
DEFAULT_STAGES = (Stage("reminder", 3), Stage("warning", 14), Stage("suspended", 30, blocks=True))


def check_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages, later ones last. Raises InvalidValueError unless their days rise and stay above zero."""
    days = [stage.after_days for stage in stages]
    if not days or days[0] < 1 or any(later <= earlier for earlier, later in pairwise(days)):
        raise InvalidValueError("must rise from at least one day", field="stages", value=days)
    return tuple(stages)


def debts(invoices: Sequence[Invoice]) -> list[Debt]:
    """Return the open invoices, the one that is due first before the others."""
    found = [
        Debt(each.number or each.id, each.due_on, each.open_minor)
        for each in invoices
        if each.state is InvoiceState.FINALISED and each.open_minor > 0
    ]
    return sorted(found, key=lambda debt: (debt.due_on, debt.invoice))


def standing(open_debts: Sequence[Debt], stages: Sequence[Stage], on: date) -> Standing:
    """Return where a customer with these debts stands on a day."""
    earliest = min(open_debts, key=lambda debt: (debt.due_on, debt.invoice), default=None)
    if earliest is None:
        return CLEAR
    age = (on - earliest.due_on).days
    reached = [stage for stage in stages if stage.after_days <= age]
    if not reached:
        return CLEAR
    stage = reached[-1]
    return Standing(stage, earliest.due_on + timedelta(days=stage.after_days), earliest.invoice)


def next_steps(open_debts: Sequence[Debt], stages: Sequence[Stage], on: date) -> list[tuple[date, Stage]]:
    """Return the stages that a debt left unpaid will still enter, with their days."""
    earliest = min(open_debts, key=lambda debt: (debt.due_on, debt.invoice), default=None)
    if earliest is None:
        return []
    entered = [(earliest.due_on + timedelta(days=stage.after_days), stage) for stage in stages]
    return [(day, stage) for day, stage in entered if day > on]
