from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.proration import report
from tests.conformance.proration.replays import ELSEWHERE, REPLAYS, cycles_billed

CASES = json.loads(Path(__file__).with_name("figures.json").read_text())["cases"]
CYCLES = json.loads(Path(__file__).with_name("cycles.json").read_text())["cases"]


def comparable(figure: Any) -> Any:
    """Numbers by value, however they are written; everything else as it is."""
    if isinstance(figure, dict):
        return {name: comparable(part) for name, part in figure.items()}
    if isinstance(figure, list | tuple):
        return [comparable(part) for part in figure]
    try:
        return Decimal(figure) if isinstance(figure, str | int) else figure
    except InvalidOperation:
        return figure


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_story_comes_to_the_same_figures(case: dict[str, Any]) -> None:
    asked = {name: part for name, part in case["expected"].items() if name not in ELSEWHERE.get(case["id"], ())}
    assert asked, "a story must assert something"
    assert comparable(REPLAYS[case["id"]](case["given"])) == comparable(asked)


@pytest.mark.parametrize("row", CYCLES, ids=[f"{n}-{row['interval']}" for n, row in enumerate(CYCLES)])
def test_cycles_are_billed_as_kill_bill_does(row: dict[str, Any]) -> None:
    theirs = sum(Fraction(part) for part in row["cycles"].split(" + "))
    assert (cycles_billed(row) == theirs) is ("why" not in row)


def test_every_story_has_its_replay() -> None:
    assert {case["id"] for case in CASES} == set(REPLAYS)
    assert len(CASES) == len(REPLAYS)
    for name, parts in ELSEWHERE.items():
        assert parts < set(next(case for case in CASES if case["id"] == name)["expected"])


def test_document_says_what_the_stories_say() -> None:
    text = report.DOCUMENT.read_text()
    if os.environ.get("ALACARTE_WRITE_DOCS"):
        report.DOCUMENT.write_text(report.written(text, CASES, CYCLES))
        text = report.DOCUMENT.read_text()
    assert report.written(text, CASES, CYCLES) == text, "run ALACARTE_WRITE_DOCS=1 pytest tests/conformance/proration"
