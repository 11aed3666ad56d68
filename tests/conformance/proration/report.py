"""The proration part of docs/conformance.md, written from the stories that are replayed.

`ALACARTE_WRITE_DOCS=1 pytest tests/conformance/proration` writes it; without that the test refuses a stale one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.conformance.proration.replays import ELSEWHERE

DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
BEGIN, END = "<!-- proration: begin, written by tests/conformance/proration -->", "<!-- proration: end -->"
_PEERS = {
    "kb": ("Kill Bill", "killbill/killbill"),
    "lago": ("Lago", "getlago/lago-api"),
    "flexprice": ("Flexprice", "flexprice/flexprice"),
}


def written(text: str, cases: list[dict[str, Any]], cycles: list[dict[str, Any]]) -> str:
    """Return the document with our part in it, at its end where it has none yet."""
    part = f"{BEGIN}\n\n{_part(cases)}\n{_cycles(cycles)}\n{END}"
    if BEGIN not in text:
        return f"{text.rstrip()}\n\n## Stories: proration, anchors, daylight saving, blocking, repair\n\n{part}\n"
    head, _, rest = text.partition(BEGIN)
    return head + part + rest.partition(END)[2]


def _part(cases: list[dict[str, Any]]) -> str:
    peers = Counter(str(case["id"]).partition("-")[0] for case in cases)
    partly = Counter(str(name).partition("-")[0] for name in ELSEWHERE)
    lines = [
        "Each story is told again with our billing cycles, prorations and repairs; a story counts as passed when all",
        "its figures about them are ours too. Some go on to payment, tax or usage: those parts are not counted here.",
        "",
        "| peer | repository | stories | passed | of these, with parts told elsewhere |",
        "|---|---|---:|---:|---:|",
    ]
    for key, (name, repository) in _PEERS.items():
        lines.append(f"| {name} | {repository} | {peers[key]} | {peers[key]} | {partly[key]} |")
    lines.append(f"| all | | {len(cases)} | {len(cases)} | {len(ELSEWHERE)} |")
    lines += [
        "",
        "Where peers differ, the caller decides and both pass:",
        "",
        "| question | one way | the other |",
        "|---|---|---|",
        "| Is the day of an end billed? | a termination bills it: the use ends with `end_of_day` (Lago) | "
        "an upgrade or cancellation does not: the use ends at the date (Lago's upgrades, Kill Bill) |",
        "| Does a period name its last day? | yes, both ends count (Flexprice): add a day | no, the end is exclusive "
        "(Kill Bill, OpenMeter, ours) |",
        "| Are the pieces of a period rounded each alone? | each alone, a cent may be lost (Kill Bill) | "
        "`round_pieces`: differences of the rounded running sum, they sum to the whole |",
        "| How long is a month? | as in the calendar | thirty days, `fixed_30` (Kill Bill's fixed days) |",
        "",
    ]
    return "\n".join(lines)


def _cycles(rows: list[dict[str, Any]]) -> str:
    different = [row for row in rows if "why" in row]
    same = len(rows) - len(different)
    lines = [
        "Of Kill Bill's tests of how many billing cycles are due (monthly, quarterly and annual ones, begun and ended",
        f"in the middle) {len(rows)} rows are counted again, {same} come to the same. Not, and why:",
        "",
        *(f"- `{row['source'].rpartition('/')[2]}`, {row['interval']}: {row['why']}." for row in different),
        "",
    ]
    return "\n".join(lines)
