"""One way to measure: two legs side by side in fresh processes, and a ratio of their times.

A figure in seconds says little on another machine, so a bar is a ratio wherever there is something to compare with.
Legs alternate A B, B A, A B ... over the rounds; each round gives one ratio, the row is their median. Both legs must
return the same checksum, or the row fails: a fast wrong answer has no time. A script declares a `Benchmark` and ends
with `run(BENCHMARK)`; results are merged into out/bench.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out"
RESULTS = OUT / "bench.json"
ROUNDS = 5
NOISY_SPREAD = 0.25
"""A baseline leg whose own times spread wider than this makes its row noisy: it is measured once more."""

_PACKAGES = ("polars", "numpy", "scikit-learn", "sqlalchemy", "litestar", "granian", "psycopg", "msgspec")
_LEG_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Options:
    """What the command line asked for. `full`: the long tables; `small`: a quick look, not a result."""

    full: bool = False
    small: bool = False


class Clock:
    """Times what runs inside `with clock:`; several blocks add up. `facts` are figures of the leg's own.

    What stands when the clock starts is the leg's input: the garbage collector does not walk it while time runs.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.seconds = 0.0
        self.facts: dict[str, float] = {}
        self._started = 0.0

    def __enter__(self) -> Clock:
        gc.collect()
        gc.freeze()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started
        gc.unfreeze()


Leg = Callable[[Clock], object]
"""Prepares, works inside `with clock:`, and returns a checksum (anything JSON) of what it computed."""


@dataclass(frozen=True)
class LegRun:
    """One run of one leg in its own process."""

    seconds: float
    checksum: object
    rss_bytes: int
    facts: Mapping[str, float]


Known = dict[str, list[LegRun]]
"""The latest runs of each leg of a script."""


@dataclass(frozen=True)
class Ratio:
    """Row: median over the rounds of seconds of `numerator` / seconds of `denominator`."""

    name: str
    numerator: str
    denominator: str
    bar: float
    better: str
    how: str
    unit: str = "ratio"
    rounds: int = ROUNDS
    same_checksum: bool = True


@dataclass(frozen=True)
class Value:
    """Row: median over the rounds of a figure of one leg, by default its seconds."""

    name: str
    leg: str
    unit: str
    bar: float | None
    better: str
    how: str
    of: Callable[[LegRun], float] = lambda run: run.seconds
    rounds: int = ROUNDS
    full_only: bool = False


Row = Ratio | Value


@dataclass(frozen=True)
class Benchmark:
    """What one script measures. `prepare` and `cleanup` run once around all rows.

    `prepare` runs in a child: Linux counts the peak memory of a parent at the fork as its child's, so that a parent
    which once held the data would spoil every leg's figure.
    """

    legs: Mapping[str, Leg]
    rows: Sequence[Row]
    prepare: Callable[[Options], None] = lambda _: None
    cleanup: Callable[[Options], None] = lambda _: None
    warm_up: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


def run(benchmark: Benchmark, argv: Sequence[str] | None = None) -> int:
    """Run a script: one leg of it as a child (`--leg`), or all its rows. Exit status 1 if a row failed its bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leg", choices=sorted(benchmark.legs))
    parser.add_argument("--result")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--small", action="store_true", help="small inputs, one round; nothing is written")
    parser.add_argument("--only", action="append", help="name of a row; may be repeated")
    arguments = parser.parse_args(argv)
    options = Options(full=arguments.full, small=arguments.small)
    if arguments.leg:
        _run_leg(benchmark.legs[arguments.leg], options, Path(arguments.result))
        return 0
    if arguments.prepare:
        benchmark.prepare(options)
        return 0
    rows = [row for row in benchmark.rows if not arguments.only or row.name in arguments.only]
    if not options.full:
        rows = [row for row in rows if not (isinstance(row, Value) and row.full_only)]
    results = _run_rows(benchmark, rows, options)
    return 0 if all(result["passed"] for result in results.values()) else 1


def _run_rows(benchmark: Benchmark, rows: Sequence[Row], options: Options) -> dict[str, dict[str, Any]]:
    results = {}
    known: Known = {}
    try:
        subprocess.run([sys.executable, sys.argv[0], "--prepare", *_flags(options)], check=True)
        for row in rows:
            try:
                results[row.name] = _measured(benchmark, row, options, known)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                results[row.name] = _failed(row, f"a leg failed: {error}")
            print(describe(row.name, results[row.name]), flush=True)
            if not options.small:
                merge({row.name: results[row.name]})
    finally:
        benchmark.cleanup(options)
    return results


def _run_leg(leg: Leg, options: Options, result: Path) -> None:
    clock = Clock(options)
    checksum = leg(clock)
    rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"seconds": clock.seconds, "checksum": checksum, "rss_bytes": rss_bytes, "facts": clock.facts}
    result.write_text(json.dumps(figures))


def _child(benchmark: Benchmark, leg: str, options: Options) -> LegRun:
    environment = {**os.environ, "POLARS_MAX_THREADS": str(os.cpu_count() or 1), **benchmark.environment}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, sys.argv[0], "--leg", leg, "--result", str(result), *_flags(options)]
        subprocess.run(command, check=True, timeout=_LEG_TIMEOUT_SECONDS, env=environment, stdout=sys.stderr)
        return LegRun(**json.loads(result.read_text()))


def _flags(options: Options) -> list[str]:
    return [flag for flag, on in (("--full", options.full), ("--small", options.small)) if on]


def _measured(benchmark: Benchmark, row: Row, options: Options, known: Known) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    if isinstance(row, Value) and len(known.get(row.leg, ())) >= row.rounds:
        runs = [known[row.leg][-row.rounds :]]  # Another row's runs of this leg tell this figure as well.
    else:
        runs = _rounds(benchmark, row, options)
    if _spread(row, runs) > NOISY_SPREAD and not options.small:
        again = _rounds(benchmark, row, options)
        runs = min(runs, again, key=lambda legs: _spread(row, legs))
    legs = [row.numerator, row.denominator] if isinstance(row, Ratio) else [row.leg]
    known.update(zip(legs, runs, strict=True))
    result = _result(row, runs)
    result["load"] = [round(load_before, 2), round(os.getloadavg()[0], 2)]
    return result


def _rounds(benchmark: Benchmark, row: Row, options: Options) -> list[list[LegRun]]:
    """Return the runs of each leg, the baseline last."""
    legs = [row.numerator, row.denominator] if isinstance(row, Ratio) else [row.leg]
    runs: list[list[LegRun]] = [[] for _ in legs]
    if benchmark.warm_up and not options.small:
        for leg in legs:
            _child(benchmark, leg, options)
    for number in range(1 if options.small else row.rounds):
        order = range(len(legs)) if number % 2 == 0 else reversed(range(len(legs)))
        for index in order:
            runs[index].append(_child(benchmark, legs[index], options))
    return runs


def _spread(row: Row, runs: list[list[LegRun]]) -> float:
    """Return how far the baseline's times, or the figures of a single leg, lie apart, relative to their median."""
    figures = [one.seconds if isinstance(row, Ratio) else row.of(one) for one in runs[-1]]
    return (max(figures) - min(figures)) / statistics.median(figures) if min(figures) > 0 else 0.0


def _failed(row: Row, reason: str) -> dict[str, Any]:
    return {
        "value": None,
        "unit": row.unit,
        "bar": row.bar,
        "better": row.better,
        "how": row.how,
        "passed": False,
        "failed": reason,
        "noisy": False,
        "seconds": {},
    }


def _result(row: Row, runs: list[list[LegRun]]) -> dict[str, Any]:
    legs = [row.numerator, row.denominator] if isinstance(row, Ratio) else [row.leg]
    by_leg = dict(zip(legs, runs, strict=True))
    if isinstance(row, Ratio):
        values = [above.seconds / below.seconds for above, below in zip(*runs, strict=True)]
    else:
        values = [row.of(one) for one in runs[0]]
    wrong = isinstance(row, Ratio) and row.same_checksum and _checksums_differ(runs)
    unstable = any(_checksums_differ([leg_runs]) for leg_runs in runs)
    value = None if wrong or unstable else statistics.median(values)
    return {
        "value": value,
        "unit": row.unit,
        "bar": row.bar,
        "better": row.better,
        "how": row.how,
        "passed": value is not None and _meets(value, row),
        "failed": "the legs' checksums differ" if wrong or unstable else None,
        "noisy": _spread(row, runs) > NOISY_SPREAD,
        "rounds": [round(one, 6) for one in values],
        "seconds": {leg: round(statistics.median(one.seconds for one in by_leg[leg]), 6) for leg in legs},
        "rss_gib": {leg: round(max(one.rss_bytes for one in by_leg[leg]) / 2**30, 3) for leg in legs},
        "facts": {leg: dict(by_leg[leg][-1].facts) for leg in legs if by_leg[leg][-1].facts},
    }


def _checksums_differ(runs: list[list[LegRun]]) -> bool:
    return len({json.dumps(one.checksum, sort_keys=True) for leg_runs in runs for one in leg_runs}) > 1


def _meets(value: float, row: Row) -> bool:
    if row.bar is None:
        return True
    return value <= row.bar if row.better == "lower" else value >= row.bar


def describe(name: str, result: Mapping[str, Any]) -> str:
    """Return one line for people."""
    if result["failed"]:
        return f"{name}: FAILED, {result['failed']}"
    verdict = "ok" if result["passed"] else "BELOW BAR"
    sign = "<=" if result["better"] == "lower" else ">="
    bar = "" if result["bar"] is None else f" (bar {sign} {result['bar']})"
    noisy = ", noisy" if result["noisy"] else ""
    return f"{name}: {result['value']:.4g} {result['unit']}{bar} {verdict}{noisy}  {result['seconds']}"


def merge(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write rows into out/bench.json beside what is there, and the facts of this machine."""
    OUT.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known.update(results)
    known["machine"] = machine()
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    temporary.replace(RESULTS)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cpu": _proc_line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES if _version(name)},
    }


def _proc_line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
