"""The tables of README.md, written from out/bench.json between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLE = re.compile(r"(<!-- table (?P<prefix>[a-z_.]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def update(readme: Path, results: Mapping[str, Any]) -> None:
    """Rewrite each `<!-- table PREFIX --> ... <!-- end -->` with the rows whose names begin with PREFIX."""

    def table(match: re.Match[str]) -> str:
        prefix = match["prefix"]
        writers = {
            "machine": lambda: _machine(results.get("machine")),
            "policies": lambda: _policies(results),
            "close": lambda: _close(results),
        }
        body = writers.get(prefix, lambda: _rows(prefix, results))()
        return f"{match[1]}{body}{match[3]}"

    readme.write_text(_TABLE.sub(table, readme.read_text()))


def _rows(prefix: str, results: Mapping[str, Any]) -> str:
    names = [name for name in sorted(results) if name.startswith(f"{prefix}.")]
    if not names:
        return "Not measured yet.\n"
    head = "| row | measured | bar | how |\n|---|---|---|---|\n"
    return head + "".join(_row(name, results[name]) for name in names)


def _policies(results: Mapping[str, Any]) -> str:
    """Write the rows whose leg has facts of a policy and its baselines: mean, spread, worst, the others' means."""
    rows = []
    for name in sorted(results):
        facts = next(iter(results[name].get("facts", {}).values()), {}) if name.startswith("demand.") else {}
        if "standard_error" in facts:
            rows.append((name.removeprefix("demand."), results[name], facts))
    if not rows:
        return "Not measured yet.\n"
    others = sorted(rows[0][2].keys() - {"mean", "standard_error", "p10", "worst"})
    head = ["market.offers", "bar", "ours", "p10", "worst", *others]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, result, facts in rows:
        mean = f"**{facts['mean']:.3f}** ± {facts['standard_error']:.3f}"
        figures = [f"{facts[key]:.3f}" for key in ("p10", "worst", *others)]
        missed = "" if result["passed"] else " (missed)"
        lines.append(_line([f"`{name}`", f"{result['bar']:g}", mean + missed, *figures]))
    return "".join(lines)


def _close(results: Mapping[str, Any]) -> str:
    """Write the closes by size; where time grows with the events, milliseconds a customer stay the same."""
    measured = [result for name, result in results.items() if name.startswith("ledger.close_") and name.endswith("_s")]
    sizes = sorted(
        (next(iter(each["facts"].values())) | {"seconds": each["value"]} for each in measured if each.get("facts")),
        key=lambda facts: facts["events"],
    )
    if not sizes:
        return "Not measured yet.\n"
    head = ["events", "customers", "seconds", "ms a customer", "peak memory, GiB"]
    lines = [_line(head), _line(["---"] * len(head))]
    for facts in sizes:
        memory = results.get(f"ledger.close_{facts['events'] // 1000}k_gib", {}).get("value")
        cells = [f"{facts['events']:,}", f"{facts['customers']:,}", f"{facts['seconds']:.1f}"]
        cells += [f"{facts['ms_a_customer']:.1f}", "-" if memory is None else f"{memory:.2f}"]
        lines.append(_line(cells))
    return "".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _row(name: str, result: Mapping[str, Any]) -> str:
    sign = "at most" if result["better"] == "lower" else "at least"
    bar = "-" if result.get("bar") is None else f"{sign} {result['bar']:g}"
    value = "failed" if result["value"] is None else f"**{result['value']:.3g}** {result['unit']}"
    notes = ", noisy" if result.get("noisy") else ""
    missed = "" if result.get("passed", True) else " (missed)"
    return f"| `{name}` | {value}{notes}{missed} | {bar} | {result['how']} |\n"


def _machine(machine: Mapping[str, Any] | None) -> str:
    if not machine:
        return "Not measured yet.\n"
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}; {packages}.\n"
    )
