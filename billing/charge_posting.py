"""Posting charges: their exact amounts enter the ledger. What of them is not earned yet, `recognition` puts aside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing.accruals import accrue
from billing.carrying import Accrual
from billing.charges import ChargeDraft
from billing.repositories.charges import ChargeRepository
from billing.unit_of_work import UnitOfWork


def post_charges(uow: UnitOfWork, drafts: Sequence[ChargeDraft], recorded_at: datetime) -> None:
    """Accrue and store charges that say something; each once for ever by its id."""
    telling = [draft for draft in drafts if draft.rows]
    accruals = [
        Accrual(f"charge:{draft.id}", draft.customer, draft.currency, draft.effective_at, draft.by_feature())
        for draft in telling
    ]
    outcomes = accrue(uow, accruals, recorded_at=recorded_at)
    posted = [
        (draft, sum(units for _, units in outcome.by_feature)) for draft, outcome in zip(telling, outcomes, strict=True)
    ]
    ChargeRepository(uow).add(posted, recorded_at)
