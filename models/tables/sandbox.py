"""How far a tenant moved its clock ahead of the system's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint
from sqlmodel import Field

from models.column_types import UtcTime
from models.tables.base import TenantRow


class SandboxClockRow(TenantRow, table=True):
    """One a tenant, from its first move on; counts in a sandbox alone. `moved_at` is the system's time."""

    __tablename__ = "sandbox_clock"
    __table_args__ = (CheckConstraint("ahead_us >= 0", name="ahead_us"),)

    ahead_us: int = Field(sa_type=BigInteger)
    moved_at: datetime = Field(sa_type=UtcTime)
    moved_by: str = Field(max_length=120)
