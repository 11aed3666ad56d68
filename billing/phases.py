"""A subscription as a value: phases that are only ever added to, and the billing periods they are cut into. Pure.

A phase says what is in force from its start on, and replaces every phase of a lower sequence from there. So a
change is one more phase, a change of a future change is another, and what was known at any time can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any

from models.values.errors import InvalidValueError
from models.values.period import BillingCycle, Interval, Period, parse_zone
from models.values.quantity import parse_decimal, plain
from pricing_engine.negotiated_terms import NegotiatedTerm, parse_term, term_document
from pricing_engine.proration import MidPeriod, ProrationBasis, ProrationRule, ProrationUnit

FOREVER = datetime.max.replace(tzinfo=UTC)
"""End of what has no end."""


class PhaseState(StrEnum):
    """Whether a phase bills."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Amounts of usage at which an invoice is made before the period ends: once each, then every `recurring`."""

    amounts: tuple[Decimal, ...] = ()
    recurring: Decimal | None = None

    def __post_init__(self) -> None:
        """Raise InvalidValueError for an amount that is not above zero."""
        named = [("thresholds", amount) for amount in self.amounts]
        for field_name, amount in (*named, ("threshold_every", self.recurring)):
            if amount is not None and amount <= 0:
                raise InvalidValueError("must be > 0", field=field_name, value=amount, code="below_minimum")


NO_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was accepted: prices by hash, features with quantities, the billing cycle and how it is prorated.

    The quantity of a metered feature is what was expected when it was quoted; its usage is what is billed.
    `draws` and `terms` are those of the quote. `minimum_spend`: the least a full period costs, in major units.
    `mid_period`: how the change to this agreement is billed where it falls into the middle of a period.
    """

    book_hash: str
    selection: Mapping[str, Decimal]
    cycle: BillingCycle
    sheet_hash: str | None = None
    quote_id: str | None = None
    draws: Mapping[str, Decimal] = field(default_factory=dict)
    terms: Mapping[str, NegotiatedTerm] = field(default_factory=dict)
    unit: ProrationUnit = ProrationUnit.DAY
    basis: ProrationBasis = ProrationBasis.CALENDAR
    mid_period: MidPeriod = MidPeriod.PRORATED
    minimum_spend: Decimal = Decimal(0)
    thresholds: Thresholds = NO_THRESHOLDS

    @property
    def proration(self) -> ProrationRule:
        """How parts of a period are counted."""
        return ProrationRule(self.cycle.zone, self.unit, self.basis)


@dataclass(frozen=True, slots=True)
class Phase:
    """What is in force from `starts_at` on, until the next phase."""

    sequence: int
    starts_at: datetime
    state: PhaseState
    action: str
    agreement: Agreement
    reason: str = ""
    actor: str = ""
    recorded_at: datetime = FOREVER


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase with the time in which it is in force."""

    phase: Phase
    period: Period


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a billing period under one agreement, inside or outside the trial.

    Switches and quantities count for `counted`: the segment itself, or the run of segments that it is joined to because
    a change between them is not prorated.
    """

    phase: Phase
    period: Period
    in_trial: bool
    counted: Period

    @property
    def is_joined(self) -> bool:
        """Whether it bills what it adds to the segments before it in its run."""
        return self.counted.start < self.period.start


@dataclass(frozen=True, slots=True)
class CyclePeriod:
    """One billing period: `full` as the cycle has it, `span` what the subscription has of it, and its segments."""

    full: Period
    span: Period
    segments: tuple[Segment, ...]

    @property
    def ends_at(self) -> datetime:
        """When all of it is known and can be billed."""
        return self.span.end


@dataclass(frozen=True, slots=True)
class Subscription:
    """A customer's subscription with all its phases, in order of sequence."""

    id: str
    customer: str
    currency: str
    starts_at: datetime
    trial_ends_at: datetime | None
    phases: tuple[Phase, ...]

    def in_force(self) -> tuple[Phase, ...]:
        """Return the phases that no later one replaced, in order of time, an end included."""
        found: list[Phase] = []
        reached = FOREVER
        for phase in reversed(self.phases):
            if phase.starts_at < reached:
                found.append(phase)
                reached = phase.starts_at
        return tuple(reversed(found))

    def stretches(self) -> tuple[Stretch, ...]:
        """Return the phases in force, each with its time, in order and without gap, up to the end or for ever."""
        in_force = self.in_force()
        ends = [phase.starts_at for phase in in_force[1:]] + [FOREVER]
        stretches = []
        for phase, end in zip(in_force, ends, strict=True):
            if phase.state is PhaseState.ENDED:
                break
            stretches.append(Stretch(phase, Period(phase.starts_at, end)))
        return tuple(stretches)

    def course(self) -> list[tuple[datetime, PhaseState, Agreement]]:
        """Return when it turns to what: the phases in force up to the end, those left out that go on as before."""
        found: list[tuple[datetime, PhaseState, Agreement]] = []
        for phase in self.in_force():
            turn = phase.starts_at, phase.state, phase.agreement
            if not found or (phase.state, _lasting(phase.agreement)) != (found[-1][1], _lasting(found[-1][2])):
                found.append(turn)
            if phase.state is PhaseState.ENDED:
                break
        return found

    def phase_at(self, instant: datetime) -> Phase | None:
        """Return the phase in force at an instant, or None before the start and after the end."""
        return next((each.phase for each in self.stretches() if instant in each.period), None)

    @property
    def ends_at(self) -> datetime | None:
        """When the subscription ends, as known now; None where it goes on."""
        stretches = self.stretches()
        end = stretches[-1].period.end if stretches else self.starts_at
        return None if end == FOREVER else end

    def cycle_periods(self, window: Period) -> Iterator[CyclePeriod]:
        """Yield the billing periods that share an instant with `window`, in order.

        A change of the cycle ends the billing period in which it falls; the new cycle begins with a part of the
        full period that ends at its next anchor.
        """
        for era in self._eras():
            reach = era[0].period.start, min(era[-1].period.end, window.end)
            if reach[0] >= reach[1]:
                continue
            cycle = era[0].phase.agreement.cycle
            begin = max(reach[0], min(window.start, reach[1]))
            for full in cycle.periods(Period(begin, reach[1])):
                span = full.intersection(Period(reach[0], era[-1].period.end))
                if span is not None and span.intersection(window) is not None:
                    yield CyclePeriod(full, span, self._segments(era, full, span))

    def _eras(self) -> list[list[Stretch]]:
        """Return the stretches grouped by unbroken use of one cycle."""
        eras: list[list[Stretch]] = []
        for stretch in self.stretches():
            if eras and eras[-1][-1].phase.agreement.cycle == stretch.phase.agreement.cycle:
                eras[-1].append(stretch)
            else:
                eras.append([stretch])
        return eras

    def _segments(self, era: list[Stretch], full: Period, span: Period) -> tuple[Segment, ...]:
        runs: list[list[Segment]] = []
        for stretch in era:
            part = stretch.period.intersection(span)
            if part is None or stretch.phase.state is PhaseState.PAUSED:
                continue
            cuts = [part.start, part.end]
            if self.trial_ends_at is not None and part.start < self.trial_ends_at < part.end:
                cuts.insert(1, self.trial_ends_at)
            for start, end in pairwise(cuts):
                in_trial = self.trial_ends_at is not None and start < self.trial_ends_at
                segment = Segment(stretch.phase, Period(start, end), in_trial, Period(start, end))
                if runs and _joins(runs[-1], segment):
                    runs[-1].append(segment)
                else:
                    runs.append([segment])
        until = self._counted_until(full, span)
        return tuple(segment for run in runs for segment in _counted(run, span.end, until))

    def _counted_until(self, full: Period, span: Period) -> datetime:
        """Return up to when a period counts: its end as the cycle has it where the subscription's is not prorated."""
        last = self.in_force()[-1]
        ends_here = last.state is PhaseState.ENDED and last.starts_at == span.end
        return full.end if ends_here and last.agreement.mid_period is not MidPeriod.PRORATED else span.end


def _lasting(agreement: Agreement) -> Agreement:
    """Return what of an agreement lasts beyond the change to it."""
    return replace(agreement, mid_period=MidPeriod.PRORATED)


def _joins(run: list[Segment], segment: Segment) -> bool:
    """Whether a segment goes on with a run: its change is not prorated, or one before it in the run was not."""
    before = run[-1]
    if before.in_trial or before.period.end != segment.period.start:
        return False
    return len(run) > 1 or segment.phase.agreement.mid_period is not MidPeriod.PRORATED


def _counted(run: list[Segment], span_end: datetime, until: datetime) -> list[Segment]:
    """Return a run, each segment counted for all of it; what lasts to the end of the span counts `until` then."""
    last = run[-1]
    end = until if last.period.end == span_end and not last.in_trial else last.period.end
    return [replace(segment, counted=Period(run[0].period.start, end)) for segment in run]


def agreement_document(agreement: Agreement) -> dict[str, Any]:
    """Return what of an agreement has no column of its own, numbers as plain decimal strings."""
    cycle = agreement.cycle
    return {
        "selection": {key: plain(quantity) for key, quantity in agreement.selection.items()},
        "draws": {key: plain(draw) for key, draw in agreement.draws.items()},
        "terms": {key: term_document(term) for key, term in agreement.terms.items()},
        "cycle": {
            "interval": cycle.interval.value,
            "zone": cycle.zone.key,
            "anchor": cycle.anchor.isoformat(),
            "day": cycle.day,
        },
        "proration": {
            "unit": agreement.unit.value,
            "basis": agreement.basis.value,
            "mid_period": agreement.mid_period.value,
        },
        "minimum_spend": plain(agreement.minimum_spend),
        "thresholds": thresholds_document(agreement.thresholds),
    }


def thresholds_document(thresholds: Thresholds) -> dict[str, Any]:
    """Return thresholds as they stand in an agreement's document."""
    return {
        "amounts": [plain(amount) for amount in thresholds.amounts],
        "recurring": None if thresholds.recurring is None else plain(thresholds.recurring),
    }


def read_agreement(
    document: Mapping[str, Any], *, book_hash: str, sheet_hash: str | None, quote_id: str | None
) -> Agreement:
    """Read an agreement back from its document. Raises InvalidValueError for a malformed one."""
    try:
        cycle, thresholds, proration = document["cycle"], document["thresholds"], document["proration"]
        recurring = thresholds["recurring"]
        return Agreement(
            book_hash=book_hash,
            sheet_hash=sheet_hash,
            quote_id=quote_id,
            selection={key: parse_decimal(value, f"selection.{key}") for key, value in document["selection"].items()},
            cycle=BillingCycle(
                Interval(cycle["interval"]),
                parse_zone(cycle["zone"]),
                date.fromisoformat(cycle["anchor"]),
                cycle["day"],
            ),
            draws={key: parse_decimal(value, f"draws.{key}") for key, value in document["draws"].items()},
            terms={key: parse_term(term) for key, term in document["terms"].items()},
            unit=ProrationUnit(proration["unit"]),
            basis=ProrationBasis(proration["basis"]),
            mid_period=MidPeriod(proration.get("mid_period", MidPeriod.PRORATED)),
            minimum_spend=parse_decimal(document["minimum_spend"], "minimum_spend"),
            thresholds=Thresholds(
                tuple(parse_decimal(amount, "thresholds") for amount in thresholds["amounts"]),
                None if recurring is None else parse_decimal(recurring, "thresholds.recurring"),
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidValueError("lacks a field or has one of another type", field="agreement", value=error) from error
