"""`alacarte ingest`: files in, totals out, and nothing changes however often or however interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from api.cli.main import main
from billing.database import Database, StorageFullError
from billing.metering.history import EVENT
from billing.metering.totals import TOTAL
from tests.integration.metering.facts import publish_meters
from tests.ledger_facts import add_customers
from tests.metering_facts import TENANT, Directory, llm, send
from tests.shared_data import shared_path

ROWS = 25_000

MAPPING = """
fields:
  source: {file: stem}
  id: {row: {}}
  type: {constant: llm}
  subject: {row: {modulo: 40}, prefix: c}
  time: {column: TIMESTAMP, zone: UTC}
data:
  input_tokens: {column: ContextTokens}
  output_tokens: {column: GeneratedTokens}
  model: {row: {divide: 40, modulo: 2}, lookup: [small, large]}
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING)
    return path


@pytest.fixture
def configured(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    publish_meters(database)
    add_customers(database, *(f"c{n}" for n in range(40)))
    return database


def ingested(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main(["ingest", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out.strip(), captured.err


def state_of(database: Database) -> tuple[list[object], list[object]]:
    """All that is stored but for when it was."""
    with database.reading(TENANT) as uow:
        columns = [column for column in EVENT.c if column.name != "recorded_at"]
        events = uow.connection.execute(select(*columns).order_by(EVENT.c.source, EVENT.c.event_id)).all()
        totals = uow.connection.execute(select(TOTAL).order_by(*TOTAL.primary_key.columns)).all()
    return [tuple(row) for row in events], [tuple(row) for row in totals]


def write_trace(path: Path, rows: int) -> Path:
    lines = [
        f"2023-11-16 18:{n // 600 % 60:02}:{n // 10 % 60:02}.{n % 10}79960,{n % 5000},{n % 300}" for n in range(rows)
    ]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]))
    return path


def test_the_real_trace_is_counted_once_however_often(
    configured: Database, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [shared_path("data", f"azure_llm_inference_2023_{name}.csv") for name in ("code", "conv")]
    options = ["--mapping", mapping]
    status, out, _ = ingested(capsys, *files, *options)
    assert (status, out) == (0, "28185 accepted, 0 duplicates, 0 conflicts, 0 unmatched, 0 invalid")
    before = state_of(configured)
    status, out, _ = ingested(capsys, *files, *options)
    assert (status, out) == (0, "0 accepted, 28185 duplicates, 0 conflicts, 0 unmatched, 0 invalid")
    assert state_of(configured) == before


def test_what_is_refused_is_named_by_file_and_line(
    configured: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"source": "s", "type": "llm", "subject": "c1", "time": "2026-03-04T05:06:07Z"}
    data = {"input_tokens": 1, "output_tokens": 1, "model": "small"}
    documents = [
        {**base, "id": "1", "data": data},
        {**base, "id": "2", "data": {**data, "input_tokens": 0.5}},
        {**base, "id": "1", "data": {**data, "input_tokens": 2}},
        {**base, "id": "3", "data": data, "subject": "nobody"},
        {**base, "id": "4", "data": data, "type": "unheard-of"},
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, documents)))
    status, out, err = ingested(capsys, path)
    assert (status, out) == (1, "1 accepted, 0 duplicates, 1 conflicts, 2 unmatched, 1 invalid")
    assert f"{path}:2: float_refused: data.input_tokens" in err
    assert f"{path}:3: event_conflict" in err
    assert err.count("kept ") == 1


def test_a_broken_file_among_good_ones_writes_nothing(
    configured: Database, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_trace(tmp_path / "good.csv", 10)
    broken = tmp_path / "broken.csv"
    broken.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:00:00,1\n")
    status, out, err = ingested(capsys, good, broken, "--mapping", mapping)
    assert (status, out) == (3, "")
    assert "missing_column" in err
    assert f"{broken}:1" in err
    assert state_of(configured) == ([], [])


def test_a_killed_ingest_goes_on_where_it_was_and_ends_the_same(
    configured: Database, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = write_trace(tmp_path / "trace.csv", ROWS)
    command = [str(Path(sys.executable).with_name("alacarte")), "ingest", str(trace), "--mapping", str(mapping)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    stored = 0
    while stored == 0 and child.poll() is None:
        time.sleep(0.02)
        with configured.reading(TENANT) as uow:
            stored = uow.connection.execute(select(func.count()).select_from(EVENT)).scalar_one()
    child.send_signal(signal.SIGKILL)
    child.wait()
    with configured.reading(TENANT) as uow:
        stored = uow.connection.execute(select(func.count()).select_from(EVENT)).scalar_one()
    assert stored in {10_000, 20_000, ROWS}
    status, out, _ = ingested(capsys, trace, "--mapping", mapping)
    assert status == 0
    assert out.startswith(f"{ROWS - stored} accepted, {stored} duplicates, 0 conflicts")
    events, totals = state_of(configured)
    assert len(events) == ROWS
    assert sum(row[5] for row in totals) == 3 * ROWS  # type: ignore[index] # Three meters read each event.


def test_a_full_disk_is_named_and_leaves_whole_batches(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "small.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")
    send(database, [llm("first")])
    with database.reading(TENANT) as uow:
        pages = uow.connection.execute(text("pragma page_count")).scalar_one()
        uow.connection.execute(text(f"pragma max_page_count = {pages + 4}"))  # Of this connection, which is reused.
    with pytest.raises(StorageFullError) as refusal:
        send(database, [llm(str(n)) for n in range(2_000)], Directory())
    assert refusal.value.code == "storage_full"
    events, totals = state_of(database)
    assert len(events) == 1
    assert len(totals) == 3
    database.close()
