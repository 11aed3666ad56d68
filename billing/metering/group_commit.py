"""Events that arrive together share one commit: see `billing.group_commit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from billing.database import Database
from billing.group_commit import GroupWriter
from billing.metering.cloud_event import CloudEvent
from billing.metering.directory import MeterDirectory
from billing.metering.ingest import ingest
from billing.metering.outcome import Outcome
from billing.metering.parsing import InvalidEvent
from billing.unit_of_work import UnitOfWork

Received = Sequence[CloudEvent | InvalidEvent]


class GroupCommit(GroupWriter[Received, list[Outcome]]):
    """Answers each request with one outcome an event, in order."""

    name = "ingest"

    def __init__(self, database: Database, directory: MeterDirectory, clock: Callable[[UnitOfWork], datetime]) -> None:
        self._database = database
        self.directory = directory
        self._clock = clock
        super().__init__()

    def size(self, asked: Received) -> int:
        """Return how many events a request holds."""
        return len(asked)

    def write(self, tenant: str, asked: Sequence[Received]) -> list[list[Outcome]]:
        """Store the events of all requests in one transaction."""
        events = [each for received in asked for each in received]
        outcomes = iter(self._database.write(tenant, lambda uow: self._store(uow, events)))
        return [[next(outcomes) for _ in received] for received in asked]

    def _store(self, uow: UnitOfWork, events: Received) -> list[Outcome]:
        return ingest(uow, events, self.directory, self._clock(uow))
