"""No command reads a number so large that what it is for cannot hold it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.main import build_parser, main


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _options(below)
        else:
            yield parser.prog, action


def test_no_option_takes_whole_numbers_of_any_size() -> None:
    found = [*_options(build_parser())]
    assert len(found) > 100
    assert [(prog, action.dest) for prog, action in found if action.type is int] == []


@pytest.mark.parametrize("number", ["9" * 18, "-2"])
@pytest.mark.parametrize(
    "command",
    [
        ["quote", "create", "acme", "seats", "--hold-days"],
        ["keys", "create", "shop", "--days"],
        ["customers", "link", "acme", "--days"],
        ["close", "2026-01", "--grace-days"],
        ["explain", "GW-1", "--line", "1", "--events"],
        ["export", "invoices", "--since"],
        ["export", "journal", "--since"],
        ["ledger", "journals", "--after"],
        ["ledger", "journals", "--limit"],
        ["subscription", "start", "acme", "gateway", "seats", "--trial-days"],
        ["demand", "card", "--book", "gateway", "--model"],
    ],
    ids=" ".join,
)
def test_a_number_that_fits_nothing_is_no_fault_of_ours(
    command: list[str], number: str, sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alacarte.db"
    path.write_bytes(sqlite_template.read_bytes())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{path}")
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    assert main([*command, number]) in {0, 3}
