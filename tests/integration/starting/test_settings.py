"""What is set wrongly is said in one line that names it, before anything else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DatabaseError

from api.cli.main import main
from api.settings import load_settings
from billing.database import Database, UnreachableError
from models.values.errors import InvalidValueError


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ALACARTE_ENVIRONMENT", "Live"),
        ("ALACARTE_ENVIRONMENT", "prod"),
        ("ALACARTE_ENVIRONMENT", ""),
        ("ALACARTE_TENANT", ""),
        ("ALACARTE_TENANT", "two\nlines"),
        ("ALACARTE_WEBHOOK_NETWORKS", "127.0.0.0/99"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(variable: str, text: str) -> None:
    with pytest.raises(InvalidValueError, match=variable):
        load_settings({variable: text})


def test_what_stripe_takes_for_live_is_live_everywhere() -> None:
    """As a sandbox it would let every key admin move time, and webhooks reach private networks."""
    settings = load_settings({"ALACARTE_ENVIRONMENT": "production", "ALACARTE_WEBHOOK_NETWORKS": "127.0.0.0/8"})
    assert settings.environment == "live"
    assert settings.webhook_rules().allowed == ()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense-with-secret", "invalid_value: database: must be a URL"),
        ("postgresql://user:secret@host:port/name", "invalid_value: database: must be a URL"),
        ("postgresql://user:secret@127.0.0.1:1/name", "busy: database: does not answer; send it again\n  connection"),
        ("sqlite:////dev/null/alacarte.db", "unreadable_file: database: the folder cannot be made"),
        ("sqlite:////dev", "busy: database: cannot be opened; send it again later\n  unable to open"),
    ],
)
def test_a_database_that_is_not_there_is_said_in_a_line(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", url)
    assert main(["keys", "list"]) == 3
    shown = capsys.readouterr().err
    assert shown.startswith(f"alacarte: {said}"), shown
    assert "secret" not in shown


def test_a_file_of_another_kind_is_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("Dear all, " * 100)
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{tmp_path / 'letter.txt'}")
    assert main(["keys", "list"]) == 3
    assert capsys.readouterr().err.startswith("alacarte: invalid_value: database: is no SQLite database\n")


def test_a_damaged_file_is_told_to_whoever_starts_and_to_no_request(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request did nothing wrong: it meets the driver's error, which is answered 500."""
    path = tmp_path / "damaged.db"
    path.write_bytes(sqlite_template.read_bytes().replace(b"CREATE TABLE journal ", b"CREATE TABLE *ournal ", 1))
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{path}")
    assert main(["keys", "list"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("alacarte: invalid_value: database: is damaged\n  malformed database schema"), said
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseError), database.reading("default"):
        pass
    database.close()


def test_a_database_that_takes_no_writes_is_asked_again_later(database_url: str) -> None:
    """A disk that was remounted to be read, or a standby: no fault of ours, and nothing was done."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        only_read = f"sqlite:///file:{url.database}?mode=ro&uri=true"
    else:
        only_read = url.update_query_dict({"options": "-cdefault_transaction_read_only=on"}).render_as_string(
            hide_password=False
        )
    database = Database(only_read)
    try:
        with pytest.raises(UnreachableError, match="takes no writes"), database.writing("default") as uow:
            uow.connection.exec_driver_sql("delete from api_key where tenant = 'default'")
    finally:
        database.close()


@pytest.mark.parametrize("where", ["/dev/null/key.pem", "/dev"])
def test_a_signing_key_that_cannot_be_read_or_made_is_refused_by_its_name(where: str) -> None:
    with pytest.raises(InvalidValueError, match="ALACARTE_SIGNING_KEY: cannot be read or made"):
        load_settings({"ALACARTE_SIGNING_KEY": where}).signer()


@pytest.mark.parametrize("days", ["0", "-1", "36501", "99999999999"])
def test_a_key_that_would_end_at_no_time_there_is_is_refused(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "shop", "--days", days]) == 3
    assert capsys.readouterr().err == f"alacarte: invalid_value: days: must be from 1 to 36500, got '{days}'\n"
