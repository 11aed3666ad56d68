"""The rating part of docs/conformance.md, written from the results themselves.

`ALACARTE_WRITE_DOCS=1 pytest tests/conformance/rating` writes it; without that the test refuses a stale one.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.conformance.rating import lago_cases, openmeter_cases
from tests.conformance.rating.doors import Json

_FIGURES = Path(__file__).with_name("figures")
DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
BEGIN, END = "<!-- rating: begin, written by tests/conformance/rating -->", "<!-- rating: end -->"

_FILES = ("lago", "lago_edges", "openmeter", "openmeter_edges")
CASES: list[Json] = [case for name in _FILES for case in json.loads((_FIGURES / f"{name}.json").read_text())["cases"]]
PEERS = {
    "lago": ("Lago", "getlago/lago-api"),
    "flexprice": ("Flexprice", "flexprice/flexprice"),
    "openmeter": ("OpenMeter", "openmeterio/openmeter"),
    "autumn": ("Autumn", "useautumn/autumn"),
}
DELIBERATE = {
    "lago-dynamic-02": "Lago bills nothing when no units come with 40.2 cents of priced events; ours bills what the "
    "events say they cost.",
    "lago-volume-negative-01": "Lago bills the first tier's flat amount for nothing, not for less than nothing; ours "
    "counts less than nothing as nothing.",
    "openmeter-conversion-07": "OpenMeter converts and rounds the quantity of each split alone, so splits do not sum "
    "to the whole; ours converts the cumulative quantity.",
    "openmeter-conversion-edge-03": "The same, at a unit price.",
}
"""Cases that assert a fault of the peer: ours must differ."""

_KINDS = {
    "coupon_fixed": "coupon",
    "coupon_percentage": "coupon",
    "calendar_days_between": "proration",
    "part_of_a_period": "proration",
    "pay_in_advance_delta": "splits in advance",
    "unit_rounding": "aggregation",
}
_ENGINES = {"delta": "delta runs", "subtract": "delta runs", "period_preserving": "late events"}
_OPTIONS = (
    (
        "`zero_usage_flat_fee`",
        "true: tier 1's flat amount is due without usage (Lago; OpenMeter's volume price)",
        "false: it is not (Flexprice; OpenMeter's graduated price)",
    ),
    (
        "`volume_split`",
        "`difference`: each split bills the change of the cumulative price (OpenMeter's delta engine)",
        "`last_only`: all is due with the last split (OpenMeter's line rating)",
    ),
    (
        "`package_rounding`",
        "`up`: a package begun is billed (Lago, OpenMeter)",
        "`down`: only full ones (Flexprice)",
    ),
    (
        "`allow_negative`",
        "absent: a negative quantity is refused",
        "false: rated as zero (Lago, Autumn); true: the price is mirrored (Autumn)",
    ),
    (
        "`included_units` or `usage_discount`",
        "`included_units`: a free tier in front; a volume price then prices the whole usage (Autumn)",
        "`usage_discount`: units are taken off before pricing (OpenMeter)",
    ),
    (
        "`final`",
        "true: the minimum is topped up (last split)",
        "false: it waits (OpenMeter's earlier splits, `ignore_minimum_spend`)",
    ),
)


def peer_of(case: Json) -> str:
    return str(case["id"]).partition("-")[0]


def kind_of(case: Json) -> str:
    model = str(case["model"])
    if "engine" in case:
        return _ENGINES[case["engine"]]
    if model.startswith("aggregation_"):
        return "aggregation"
    if model.startswith("bucketed_"):
        return "bucketed"
    if "rounding" in case["id"] and model in {"flat", "currency_rounding"}:
        return "currency rounding"
    if "-off-" in case["id"]:
        return "coupon"
    return _KINDS.get(model, model.removesuffix("_tier").replace("standard", "unit").replace("_", " "))


def check(case: Json) -> None:
    """Raise AssertionError where our result is not the peer's."""
    module = lago_cases if peer_of(case) in {"lago", "flexprice"} else openmeter_cases
    module.check(case)


def passes(case: Json) -> bool:
    try:
        check(case)
    except AssertionError:
        return False
    return True


def rating_section() -> str:
    """Return the tables between the markers."""
    results = {case["id"]: passes(case) for case in CASES}
    lines = [
        "| peer | repository | cases | passed | deliberately different |",
        "|---|---|---:|---:|---:|",
    ]
    for key, (name, repository) in PEERS.items():
        cases = [case["id"] for case in CASES if peer_of(case) == key]
        passed = sum(results[case] for case in cases)
        lines.append(f"| {name} | {repository} | {len(cases)} | {passed} | {len(cases) - passed} |")
    lines.append(f"| all | | {len(results)} | {sum(results.values())} | {len(results) - sum(results.values())} |")
    lines += ["", "Not passed, and why:", ""]
    lines += [f"- `{name}`: {DELIBERATE[name]}" for name, passed in results.items() if not passed]
    lines += ["", "What the cases are about:", "", "| kind | cases | passed |", "|---|---:|---:|"]
    kinds = Counter(map(kind_of, CASES))
    for kind, count in sorted(kinds.items()):
        passed = sum(results[case["id"]] for case in CASES if kind_of(case) == kind)
        lines.append(f"| {kind} | {count} | {passed} |")
    lines += ["", "Where peers contradict each other, a named option of the tariff decides, and both sides pass:", ""]
    lines += ["| option | one way | the other |", "|---|---|---|"]
    lines += [f"| {option} | {one} | {other} |" for option, one, other in _OPTIONS]
    return "\n".join(lines)


def written(document: str) -> str:
    """Return the document with the rating section replaced."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert all((begin, end)), f"docs/conformance.md has lost its markers {BEGIN} and {END}"
    return f"{head}{BEGIN}\n\n{rating_section()}\n\n{END}{tail}"
