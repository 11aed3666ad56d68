"""Each story comes to the peer's figures, or stands in the table with the reason why not."""

from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from billing.database import Database
from tests.billing_story import Company
from tests.conformance.scenarios.stories import NOT_OFFERED, NOT_TOLD, STORIES

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = json.loads((HERE / "figures.json").read_text())["cases"]
PRORATED: list[dict[str, Any]] = json.loads((HERE.parent / "proration" / "figures.json").read_text())["cases"]
DOCUMENT = HERE.parents[2] / "docs" / "conformance-scenarios.md"


def comparable(figure: Any) -> Any:
    """Numbers by value, however they are written."""
    if isinstance(figure, dict):
        return {name: comparable(part) for name, part in figure.items()}
    if isinstance(figure, list | tuple):
        return [comparable(part) for part in figure]
    try:
        return Decimal(figure) if isinstance(figure, str | int) else figure
    except InvalidOperation:
        return figure


def narrowed(told: Any, asked: Any) -> Any:
    """What of a story the peer's case asserts."""
    return {name: narrowed(told[name], part) for name, part in asked.items()} if isinstance(asked, dict) else told


@pytest.mark.parametrize("case", [case for case in CASES if case["id"] in STORIES], ids=lambda case: case["id"])
def test_story_comes_to_the_same_figures(case: dict[str, Any], database: Database) -> None:
    asked = {name: part for name, part in case["expected"].items() if name not in NOT_TOLD.get(case["id"], ())}
    told = STORIES[case["id"]](Company(database), case["given"])
    assert asked, "a story must assert something"
    assert comparable(narrowed(told, asked)) == comparable(asked)
    if case["id"] == "kb-use-09":
        assert comparable(told["amounts"]) == [comparable(item["amount"]) for item in case["expected"]["items"]]


def test_every_story_is_told_or_says_why_not() -> None:
    assert {case["id"] for case in CASES} == STORIES.keys() | NOT_OFFERED.keys()
    assert not STORIES.keys() & NOT_OFFERED.keys()
    assert len({case["id"] for case in CASES + PRORATED}) == 39 + 26


def test_the_document_says_what_the_stories_say() -> None:
    if os.environ.get("ALACARTE_WRITE_DOCS"):
        DOCUMENT.write_text(written())
    assert DOCUMENT.read_text() == written(), "run ALACARTE_WRITE_DOCS=1 pytest tests/conformance/scenarios"


def written() -> str:
    """Return the table of all stories."""
    total = len(CASES) + len(PRORATED)
    rows = [
        "# Stories of Kill Bill, Lago and Flexprice, told again",
        "",
        "Written by `tests/conformance/scenarios`; `ALACARTE_WRITE_DOCS=1` writes it anew. A story told by *billing*",
        "runs through price book, events, close, invoices and settlements on SQLite and on PostgreSQL; one told by",
        "*proration* through the pure functions of periods and prorations.",
        "",
        f"{total - len(NOT_OFFERED)} of {total} come out the same.",
        "",
        "| story | of | told by | outcome |",
        "|---|---|---|---|",
    ]
    prorated = {case["id"] for case in PRORATED}
    for case in sorted(CASES + PRORATED, key=lambda case: str(case["id"])):
        name = str(case["id"])
        peer = {"kb": "Kill Bill", "lago": "Lago"}.get(name.partition("-")[0], "Flexprice")
        teller = "proration" if name in prorated else "billing"
        outcome = f"not offered: {NOT_OFFERED[name]}" if name in NOT_OFFERED else "passed"
        if name in NOT_TOLD:
            outcome += f" (without {', '.join(sorted(NOT_TOLD[name]))})"
        rows.append(f"| `{name}` | {peer} | {teller} | {outcome} |")
    return "\n".join(rows) + "\n"
