"""A file or folder that a command cannot read or write is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.main import main


@pytest.mark.parametrize(
    "command",
    [
        ["export", "invoices", "--out", "{there}"],
        ["export", "journal", "--out", "{there}"],
        ["invoice", "pdf", "--period", "2026-01", "--out", "{there}"],
        ["ledger", "verify", "--head", "{there}", "--key", "{there}"],
    ],
    ids=" ".join,
)
def test_a_place_that_cannot_be_written_is_named(
    command: list[str],
    sqlite_template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "alacarte.db"
    path.write_bytes(sqlite_template.read_bytes())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{path}")
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    there = path / "out"  # A file is no folder.
    assert main([each.format(there=there) for each in command]) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("alacarte: unreadable_file: ")
    assert str(there) in line
    assert "Not a directory" in line


def test_a_full_disk_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("api.cli.rate.run", _fill)
    assert main(["rate"]) == 3
    assert capsys.readouterr().err == (
        "alacarte: unreadable_file: output: cannot be read or written: No space left on device\n"
    )


def _fill(_options: object) -> int:
    raise OSError(28, "No space left on device")
