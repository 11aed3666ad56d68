"""What those who run it look at: readiness, metrics and traces."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from litestar.testing import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import NullPool, create_engine, text

from api.app import create_app
from api.cli.main import main as alacarte
from api.metrics import forget_dead_workers
from api.services import Services
from api.tracing import configured_tracer_provider
from billing.api_keys import Scope
from billing.database import Database, UnreachableError
from models.values.errors import InvalidValueError
from pricing_engine.sealing import new_signer
from tests.integration.api.door import Door, open_door

Series = dict[tuple[str, str, str], float]


@pytest.fixture
def sqlite_door(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    """The API on SQLite, for what never reaches the database."""
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    yield from open_door(f"sqlite:///{tmp_path / 'alacarte.db'}", tmp_path)


def answered(door: Door, name: str = "alacarte_requests_total") -> Series:
    """Return a metric's samples by method, path and status."""
    scraped = door.client.get("/metrics")
    assert scraped.status_code == 200
    kind, version, *others = scraped.headers["content-type"].split("; ")
    assert (kind, version.partition("=")[0], others) == ("text/plain", "version", ["charset=utf-8"])
    return {
        (sample.labels["method"], sample.labels["path"], sample.labels["status_code"]): sample.value
        for family in text_string_to_metric_families(scraped.text)
        for sample in family.samples
        if sample.name == name
    }


def test_ready_says_which_part_is_missing(door: Door) -> None:
    assert door.call("GET", "/ready", token="").json() == {"status": "ready"}
    with door.database.engine.begin() as connection:
        (current,) = connection.execute(text("select version_num from alembic_version")).one()
        connection.execute(text("update alembic_version set version_num = 'of_a_later_release'"))
    assert _missing(door) == "migrations"
    with door.database.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = :current"), {"current": current})
    assert door.call("GET", "/ready", token="").status_code == 200


def test_probes_may_ask_for_the_head_alone(sqlite_door: Door, tmp_path: Path) -> None:
    for path in ("/health", "/ready"):
        answer = sqlite_door.client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    (tmp_path / "key.pem").unlink()
    answer = sqlite_door.client.head("/ready")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, b"", "5")


def test_ready_wants_the_key_that_this_process_signs_with(sqlite_door: Door, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(new_signer().private_pem())
    assert _missing(sqlite_door) == "signing_key"
    key.write_text("no key")
    assert _missing(sqlite_door) == "signing_key"
    key.unlink()
    assert _missing(sqlite_door) == "signing_key"
    assert not key.exists()  # Asking makes none.


def test_ready_wants_a_database_that_answers(sqlite_door: Door, tmp_path: Path) -> None:
    sqlite_door.database.close()
    for left in tmp_path.glob("alacarte.db*"):
        left.unlink()
    (tmp_path / "alacarte.db").mkdir()
    assert _missing(sqlite_door) == "database"
    assert sqlite_door.client.get("/health").status_code == 200


def test_ready_waits_for_no_database_that_hangs_and_looks_once_at_a_time(
    sqlite_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, looks = threading.Event(), []

    def is_migrated() -> bool:
        looks.append(1)
        return answers.wait(timeout=30)

    monkeypatch.setattr("api.readiness.PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(sqlite_door.database, "is_migrated", is_migrated)
    try:
        assert [_missing(sqlite_door) for _ in range(3)] == ["database"] * 3
        assert len(looks) == 1
    finally:
        answers.set()
    monkeypatch.setattr("api.readiness.PATIENCE_SECONDS", 30)
    assert sqlite_door.client.get("/ready").json() == {"status": "ready"}


def test_what_could_not_reach_the_database_is_to_be_sent_again(sqlite_door: Door) -> None:
    sqlite_door.token(*Scope)
    assert sqlite_door.call("GET", "/v1/customers").status_code == 200  # The key is kept for a second.
    kept, sqlite_door.database.engine = sqlite_door.database.engine, create_engine("postgresql+psycopg://127.0.0.1:1/x")
    answers = [sqlite_door.call("GET", "/v1/customers"), sqlite_door.call("POST", "/v1/closes/2026-01", key="a")]
    sqlite_door.database.engine = kept
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(503, "busy")] * 2
    assert sqlite_door.call("GET", "/v1/customers").status_code == 200


def test_a_connection_that_was_cut_fails_once_and_says_so(database: Database) -> None:
    """After a restart of PostgreSQL its pool holds connections that lead nowhere."""
    with database.reading("default") as uow:
        own = None if database.is_sqlite else uow.connection.scalar(text("select pg_backend_pid()"))
    if own is None:
        return
    with create_engine(database.engine.url, poolclass=NullPool).connect() as other:
        other.execute(text("select pg_terminate_backend(:own)"), {"own": own})
    with pytest.raises(UnreachableError), database.reading("default"):
        pass
    with database.reading("default") as uow:
        assert uow.connection.scalar(text("select 1")) == 1


def _missing(door: Door) -> str:
    answer = door.client.get("/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "alacarte.db" not in answer.text
    field: str = answer.json()["field"]
    return field


def test_requests_are_counted_by_route_and_never_by_address(sqlite_door: Door) -> None:
    for name in range(20):
        assert sqlite_door.call("GET", f"/v1/customers/nobody-{name}").status_code == 404
        assert sqlite_door.call("GET", f"/nowhere/{name}").status_code == 404
    assert sqlite_door.call("GET", "/v1/customers", token="").status_code == 401
    assert sqlite_door.call("GET", "/v1/customers").status_code == 200
    found = answered(sqlite_door)
    assert found == {
        ("GET", "/v1/customers/{key}", "404"): 20,
        ("GET", "/v1/customers", "401"): 1,
        ("GET", "/v1/customers", "200"): 1,
    }
    assert answered(sqlite_door, "alacarte_request_duration_seconds_count") == {**found, ("GET", "/metrics", "200"): 1}


def test_failures_of_ours_are_counted_apart(sqlite_door: Door, tmp_path: Path) -> None:
    (tmp_path / "key.pem").unlink()
    assert _missing(sqlite_door) == "signing_key"
    assert answered(sqlite_door, "alacarte_requests_error_total") == {("GET", "/ready", "503"): 1}


def test_each_application_counts_for_itself(sqlite_door: Door) -> None:
    services: Services = sqlite_door.client.app.state.services
    with TestClient(create_app(services)) as other:
        assert other.get("/health").status_code == 200
        assert ("GET", "/health", "200") not in answered(sqlite_door)


def test_a_span_names_the_route_and_the_request_and_nothing_that_opens_a_door(database: Database, door: Door) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    wired: Services = door.client.app.state.services
    services = Services(wired.settings, database, wired.signer, wired.system_now, tracer_provider=provider)
    key = {"Authorization": f"Bearer {door.token('read')}", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with TestClient(create_app(services)) as client:
        found = client.get("/v1/customers/secret-name?cursor=secret-cursor", headers=key)
        client.get("/nowhere/secret-link")
    named, unknown = spans.get_finished_spans()
    assert named.name == "GET /v1/customers/{key}"
    assert named.context is not None
    assert f"{named.context.trace_id:x}" == "a" * 32  # The caller's trace goes on.
    assert _said(named)["http.route"] == "/v1/customers/{key}"
    assert _said(named)["alacarte.request_id"] == found.headers["x-request-id"]
    assert _said(named)["http.status_code"] == found.status_code
    assert unknown.name == "GET"
    assert "secret" not in named.to_json() + unknown.to_json()
    assert door.token("read") not in named.to_json()


def _said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_tracing_is_off_unless_an_exporter_is_named() -> None:
    assert configured_tracer_provider({}) is None
    assert configured_tracer_provider({"OTEL_TRACES_EXPORTER": "none"}) is None
    with pytest.raises(InvalidValueError, match="OTEL_TRACES_EXPORTER"):
        configured_tracer_provider({"OTEL_TRACES_EXPORTER": "nowhere"})
    provider = configured_tracer_provider({"OTEL_TRACES_EXPORTER": "console"})
    assert provider is not None
    provider.shutdown()


def test_a_scrape_of_one_worker_counts_the_requests_of_all(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = {
        "ALACARTE_DATABASE_URL": f"sqlite:///{tmp_path / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(tmp_path / "key.pem"),
    }
    command = [str(Path(sys.executable).with_name("alacarte")), "serve", "--workers", "2", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        _wait_for_workers(port, tmp_path / "log")
        for _ in range(30):  # Each on a connection of its own, so that both workers get some.
            assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200
        scraped = [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text for _ in range(6)]
    finally:
        server.terminate()
        server.wait(20)
    counted = {line for text in scraped for line in text.splitlines() if line.startswith(_HEALTHY)}
    assert counted == {f"{_HEALTHY} 30.0"}


_HEALTHY = 'alacarte_requests_total{method="GET",path="/health",status_code="200"}'


def _wait_for_workers(port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while log.read_text().count("Started worker") < 2 or not _accepts(port):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_worker_that_was_killed_has_no_requests_in_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (gone.pid, os.getpid()):
        (tmp_path / f"gauge_livesum_{pid}.db").touch()
    (tmp_path / f"counter_{gone.pid}.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    forget_dead_workers()
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {f"gauge_livesum_{os.getpid()}.db", f"counter_{gone.pid}.db"}


def test_a_port_that_another_server_listens_at_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{tmp_path / 'alacarte.db'}")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # As Granian opens it.
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert alacarte(("serve", "--port", str(other.getsockname()[1]))) == 3
    assert "in use" in capsys.readouterr().err
    for wrong in (("--port", "99999"), ("--port", "web"), ("--workers", "0")):
        with pytest.raises(SystemExit):
            alacarte(("serve", *wrong))
    assert not (tmp_path / "alacarte.db").exists()
