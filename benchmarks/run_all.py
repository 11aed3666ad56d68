"""Run every benchmark script and write out/bench.json; `--full` for the long tables, `--readme` for the tables only.

A benchmark is any other module of this folder that declares BENCHMARK. Exit status 1 if a script or a bar failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import RESULTS, ROOT, describe
from benchmarks.readme import update

FOLDER = Path(__file__).resolve().parent


def scripts() -> list[Path]:
    """Return the benchmark scripts, in order of name."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        lines = path.read_text().splitlines()
        if any(line.startswith(("BENCHMARK =", "BENCHMARK:")) for line in lines):
            found.append(path)
    return found


def main() -> int:
    """Run them one after the other; one that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument(
        "--readme", action="store_true", help="only rewrite the tables of README.md from out/bench.json"
    )
    parser.add_argument("--only", action="append", metavar="SCRIPT", help="script name without .py; may be repeated")
    arguments = parser.parse_args()
    failed = []
    if not arguments.readme:
        for script in scripts():
            if arguments.only and script.stem not in arguments.only:
                continue
            started = time.monotonic()
            print(f"== {script.stem}", flush=True)
            command = [sys.executable, str(script), *(["--full"] if arguments.full else [])]
            if subprocess.run(command, cwd=ROOT, check=False).returncode:
                failed.append(script.stem)
            print(f"   {time.monotonic() - started:.0f} s", flush=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    update(FOLDER / "README.md", results)
    print("\n".join(describe(name, row) for name, row in sorted(results.items()) if name != "machine"))
    if failed:
        print(f"below bar or failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
