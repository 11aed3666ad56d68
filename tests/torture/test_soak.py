"""The soak sees what goes wrong; one that sees nothing would always hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from billing.database import Database
from tests.billing_story import Company, event
from tests.torture.soak import BROKEN_WITHIN_SECONDS, Watch, missing, problems_of
from tests.torture.soak_traffic import Ask, Tally, judge

STEADY = [100] * 40
SENT = Ask("event", b"", 201, ("e-1",))


def a_good_run() -> tuple[Tally, Watch]:
    tally = Tally(events={"e1"}, quotes={"q1"}, broken=[60.1])
    return tally, Watch(kills=[60.0], resident={"eldest worker": [*STEADY], "supervisor": [*STEADY]})


def test_a_good_run_has_no_problem() -> None:
    assert problems_of(*a_good_run()) == []


def test_a_connection_that_no_kill_broke_is_a_problem() -> None:
    tally, watch = a_good_run()
    tally.broken += [59.9, 60.0 + BROKEN_WITHIN_SECONDS + 0.1]
    assert problems_of(tally, watch) == ["2 connections broken without a kill"]


def test_memory_that_grows_is_a_problem() -> None:
    tally, watch = a_good_run()
    watch.resident["eldest worker"] = [*range(100, 140)]
    assert problems_of(tally, watch) == ["eldest worker grew by 17.5%"]


def test_nothing_killed_or_nothing_acknowledged_is_a_problem() -> None:
    for tally, watch in ((Tally(), a_good_run()[1]), (a_good_run()[0], Watch(resident=a_good_run()[1].resident))):
        assert "nothing was tried" in problems_of(tally, watch)


@pytest.mark.parametrize(
    ("status", "is_resent", "server_errors", "wrong", "acknowledged"),
    [
        (201, False, 0, 0, {"e-1"}),
        (200, True, 0, 0, {"e-1"}),
        (200, False, 0, 1, set()),
        (409, True, 0, 1, set()),
        (503, False, 1, 1, set()),
    ],
)
def test_an_answer_counts_as_what_it_says(
    status: int, is_resent: bool, server_errors: int, wrong: int, acknowledged: set[str]
) -> None:
    tally = Tally()
    judge(SENT, status, b"{}", tally, is_resent=is_resent)
    assert (tally.server_errors, tally.wrong, tally.events) == (server_errors, wrong, acknowledged)


def test_what_was_acknowledged_and_is_not_there_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "alacarte.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    company = Company(database)
    company.found("acme")
    company.publish()
    company.ingest([event("1", "acme", "2026-03-01"), event("2", "acme", "2026-03-01")], "2026-03-31")
    database.close()
    url = f"sqlite:///{path}"
    assert missing(url, Tally(events={"e1", "e2"})) == []
    assert missing(url, Tally(events={"e1", "e3"}, quotes={"q1"})) == [
        "1 acknowledged events lost",
        "1 acknowledged quotes lost",
    ]
