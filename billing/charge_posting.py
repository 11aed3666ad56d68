"""Posting charges: their exact amounts enter the ledger, what is billed ahead of its service is deferred."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing import ledger
from billing.accruals import accrue
from billing.carrying import Accrual
from billing.charges import ChargeDraft
from billing.posting_rules import Fact, Recognition, journal
from billing.repositories.charges import ChargeRepository
from billing.unit_of_work import UnitOfWork


def post_charges(uow: UnitOfWork, drafts: Sequence[ChargeDraft], recorded_at: datetime) -> None:
    """Accrue and store charges that say something; each once for ever by its id."""
    telling = [draft for draft in drafts if draft.rows]
    accruals = [_accrual(draft, ahead=ahead) for draft in telling for ahead in (False, True)]
    outcomes = accrue(uow, [each for each in accruals if each.by_feature], recorded_at=recorded_at)
    units = {outcome.key: outcome.by_feature for outcome in outcomes}
    deferrals = []
    posted = []
    for draft in telling:
        earned, ahead = units.get(earned_key(draft.id), ()), units.get(ahead_key(draft.id), ())
        posted.append((draft, sum(part for _, part in (*earned, *ahead))))
        facts: list[Fact] = [
            Recognition(draft.customer, draft.currency, feature, -part) for feature, part in ahead if part
        ]
        if facts:
            deferrals.append(journal(f"defer:{draft.id}", draft.effective_at, *facts))
    ledger.post(uow, deferrals, recorded_at=recorded_at)
    ChargeRepository(uow).add(posted, recorded_at)


def earned_key(charge: str) -> str:
    """Return the accrual key of what a charge has earned."""
    return f"charge:{charge}"


def ahead_key(charge: str) -> str:
    """Return the accrual key of what a charge bills ahead."""
    return f"ahead:{charge}"


def charge_of(key: str) -> str:
    """Return the charge that an accrual key is of."""
    return key.partition(":")[2]


def _accrual(draft: ChargeDraft, *, ahead: bool) -> Accrual:
    key = ahead_key(draft.id) if ahead else earned_key(draft.id)
    return Accrual(key, draft.customer, draft.currency, draft.effective_at, draft.by_feature(ahead=ahead))
